"""One atomic structure with its labels, in plain numpy: what files are read into and graphs are built from."""

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from equitensor.graph.constraints import held_atoms
from equitensor.graph.labels import is_label, labels

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms, cell and labels of one structure, in eV, Angstrom, eV/Angstrom and eV/Angstrom^3.

    z (n,) int64; pos (n, 3) float64; cell (3, 3) float64, rows are lattice vectors, zero if there is no cell; pbc (3,)
    bool; fixed (n,) bool, atoms that are held fixed; tags (n,) int64 (OC20: 0 bulk, 1 surface, 2 adsorbate).

    Missing labels are None: energy, forces (n, 3), stress (3, 3) with tension positive. `others` contains further
    labels by name; like the three they can be read as attributes and passed to `replace`.

    group names the trajectory or system of the structure: a split never divides a group. source says where it was read
    ("train.xyz, frame 3") and appears in error messages.
    """

    z: np.ndarray
    pos: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    energy: float | None = None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None
    fixed: np.ndarray | None = None
    tags: np.ndarray | None = None
    weight: float = 1.0
    config_type: str | None = None
    group: str | None = None
    source: str = ""
    others: dict[str, float | np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.z)

    def __getattr__(self, name):
        """A label that is no field."""
        if name.startswith("_") or not is_label(name):
            raise AttributeError(f"a structure has no {name!r}")
        return self.others.get(name)

    @property
    def has_labels(self) -> bool:
        """Whether the structure has at least one label."""
        return any(label.is_here(self) for label in labels())

    def replace(self, **changes: Any) -> "Structure":
        """A copy with these fields and labels."""
        return replace(self, **_sorted_in(changes, self.others))

    @classmethod
    def of(cls, **values: Any) -> "Structure":
        """A structure from its fields and any labels by name."""
        return cls(**_sorted_in(values, {}))

    @classmethod
    def from_ase(cls, atoms: "Atoms", **labels: Any) -> "Structure":
        """The positions, cell and elements of an ase.Atoms; pass labels by name (energy=..., forces=...).

        Atoms that ASE's constraints hold in all three directions become `fixed`; ASE tags that are not all zero become
        `tags`.
        """
        fixed = held_atoms(atoms)
        if fixed.any():
            labels.setdefault("fixed", fixed)
        if atoms.has("tags"):
            labels.setdefault("tags", atoms.get_tags().astype(np.int64))
        return cls.of(
            z=atoms.numbers.astype(np.int64),
            pos=np.array(atoms.positions, dtype=np.float64),
            cell=np.array(atoms.cell.array, dtype=np.float64),
            pbc=np.array(atoms.pbc, dtype=bool),
            **labels,
        )

    def to_ase(self) -> "Atoms":
        """An ase.Atoms with constraint and tags; labels are in a SinglePointCalculator."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.constraints import FixAtoms
        from ase.stress import full_3x3_to_voigt_6_stress

        atoms = Atoms(self.z, self.pos, cell=self.cell, pbc=self.pbc, tags=self.tags)
        if self.fixed is not None and self.fixed.any():
            atoms.set_constraint(FixAtoms(mask=self.fixed))
        results = {}
        for label in labels():
            if label.ase and label.is_here(self):
                value = getattr(self, label.name)
                results[label.ase] = full_3x3_to_voigt_6_stress(value) if label.symmetric else value
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms


_FIELDS = frozenset(each.name for each in fields(Structure))


def _sorted_in(values: dict, others: dict) -> dict:
    """The values of fields, those of other labels in `others`. Raises TypeError for a name that is neither."""
    if values.keys() <= _FIELDS:
        return values
    own = {name: value for name, value in values.items() if name in _FIELDS}
    more = {name: value for name, value in values.items() if name not in _FIELDS}
    if unknown := [name for name in more if not is_label(name)]:
        raise TypeError(f"a structure has no field or label {unknown[0]!r}")
    more = {**others, **more}
    return own | {"others": {name: value for name, value in more.items() if value is not None}}

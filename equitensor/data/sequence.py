"""Snapshots: a sequence of structures with a small index that answers questions without reading them all."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from equitensor.graph import Structure
from equitensor.graph.labels import ISOLATED_ATOM, Label, any_label, labels

_ISOLATED_NAMES = {"isolatedatom", "isolated_atom", "isolated_atoms"}
_FAR = 10.0  # Angstrom: a periodic copy further away than this makes a single atom isolated


def evenly_spaced(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the values, evenly spaced."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(int)]


def is_isolated_atom(structure: Structure) -> bool:
    """Whether this is one atom alone: so called, without periodicity, or in a cell wider than 10 A."""
    if len(structure) != 1:
        return False
    if structure.config_type is not None and structure.config_type.lower() in _ISOLATED_NAMES:
        return True
    periods = np.linalg.norm(structure.cell[structure.pbc], axis=1)
    return bool((periods > _FAR).all())


@dataclass
class Index:
    """Per structure: atoms, labels as the table's bits (energy 1, forces 2, stress 4), isolated atom 8, group number.

    `group` is -1 where a structure belongs to no trajectory; otherwise an index into `group_names`.
    """

    atoms: np.ndarray
    flags: np.ndarray
    group: np.ndarray
    group_names: list[str]
    elements: tuple[int, ...]

    def __len__(self):
        return len(self.atoms)

    def has(self, label: Label | int) -> np.ndarray:
        """(n,) bool: the structures that carry a label, or any of these bits."""
        return (self.flags & (label if isinstance(label, int) else label.bit)) != 0

    @property
    def has_any(self) -> np.ndarray:
        """(n,) bool: the structures that carry some label."""
        return self.has(any_label())

    @property
    def isolated(self) -> np.ndarray:
        """(n,) bool: the isolated atoms."""
        return self.has(ISOLATED_ATOM)

    @classmethod
    def join(cls, indices: list["Index"]) -> "Index":
        """One index for several data sets, one after the other; groups of the same name become one group."""
        names = {name: i for i, name in enumerate(dict.fromkeys(n for x in indices for n in x.group_names))}
        numbers = [np.array([names[n] for n in x.group_names] + [-1], np.int32) for x in indices]
        return cls(
            atoms=np.concatenate([x.atoms for x in indices]),
            flags=np.concatenate([x.flags for x in indices]),
            group=np.concatenate([number[x.group] for x, number in zip(indices, numbers, strict=True)]),
            group_names=list(names),
            elements=tuple(sorted(set().union(*(x.elements for x in indices)))),
        )


@dataclass
class IndexBuilder:
    """Collects the index while structures stream past."""

    atoms: array = field(default_factory=lambda: array("i"))
    flags: array = field(default_factory=lambda: array("B"))
    group: array = field(default_factory=lambda: array("i"))
    names: dict[str, int] = field(default_factory=dict)
    elements: set[int] = field(default_factory=set)

    def add(self, structure: Structure):
        flags = sum(label.bit for label in labels() if label.is_here(structure))
        self.atoms.append(len(structure))
        self.flags.append(flags + ISOLATED_ATOM * is_isolated_atom(structure))
        name = structure.group
        self.group.append(-1 if name is None else self.names.setdefault(name, len(self.names)))
        self.elements.update(np.unique(structure.z).tolist())

    def build(self) -> Index:
        return Index(
            atoms=np.array(self.atoms, np.int32),
            flags=np.array(self.flags, np.uint8),
            group=np.array(self.group, np.int32),
            group_names=list(self.names),
            elements=tuple(sorted(self.elements)),
        )


class Snapshots(Sequence, ABC):
    """A sequence of Structure (`len`, `[i]`, iteration) with an `index`, `elements`, `name`, `provenance`."""

    name: str
    index: Index
    provenance: dict

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return self.index.elements

    def __len__(self):
        return len(self.index)

    def __getitem__(self, i) -> Structure:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} structures, no number {i}")
        return self.read(i % len(self))

    @abstractmethod
    def read(self, i: int) -> Structure:
        """Structure number i, 0 <= i < len(self)."""


class Memory(Snapshots):
    """Snapshots held in memory, from any iterable of structures."""

    def __init__(self, structures, name: str = "structures", provenance: dict | None = None):
        builder, self._structures = IndexBuilder(), []
        for structure in structures:
            builder.add(structure)
            self._structures.append(structure)
        self.name, self.index, self.provenance = name, builder.build(), provenance or {}

    def read(self, i):
        return self._structures[i]


class Joined(Snapshots):
    """Several data sets, one after the other."""

    def __init__(self, parts: list[Snapshots]):
        self.parts = parts
        self.name = ", ".join(part.name for part in parts)
        self.index = Index.join([part.index for part in parts])
        self.provenance = {"parts": [part.provenance for part in parts]}
        self._ends = np.cumsum([len(part) for part in parts])

    def read(self, i):
        part = int(np.searchsorted(self._ends, i, side="right"))
        return self.parts[part].read(i - int(self._ends[part]) + len(self.parts[part]))


class Weighted(Snapshots):
    """A data set whose structures weigh `weight` times what they say in the loss."""

    def __init__(self, part: Snapshots, weight: float):
        self.part, self.weight = part, float(weight)
        self.name, self.index, self.provenance = part.name, part.index, part.provenance
        self.created = getattr(part, "created", "")

    def read(self, i):
        structure = self.part.read(i)
        return structure.replace(weight=self.weight * structure.weight)

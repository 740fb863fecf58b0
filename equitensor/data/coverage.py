"""What a data set holds: structures, elements, labels and their ranges, as values and as a table."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from equitensor.data.absurd_labels import SAMPLE, LabelSample
from equitensor.data.agreement import energy_sign_warning, unit_warning, uphill_warning
from equitensor.data.bond_stretching import hydrogen_force_constant, stretching_warning
from equitensor.data.bounds import DistanceBound, EnergyBound
from equitensor.data.near_frames import near_pairs, sampled_frames
from equitensor.data.sequence import Snapshots, evenly_spaced
from equitensor.data.stress_agreement import stress_warning
from equitensor.graph.labels import ENERGY, FORCES, Label, labels

if TYPE_CHECKING:
    from rich.table import Table

_DISTANCES = 500


@dataclass
class Coverage:
    """What a data set contains. Ranges are (smallest, largest), or None without any labels.

    elements: atomic number -> number of structures that contain it; energy_per_atom in eV/atom; forces (largest norm of
    a force) and forces_rms (per component) in eV/Angstrom; labels: name -> number of structures that have it; ranges:
    of further labels, per component, in their units; weights_range: None if all weights are 1; weighted: number of
    structures with another weight.

    Beyond 20 000 structures, ranges and config_types come from `sampled` evenly spaced ones, and so do the elements of
    a store whose index does not contain them; shortest, the shortest distance in Angstrom, comes from 500.
    """

    name: str
    structures: int
    atoms: int
    isolated_atoms: int
    groups: int
    labels: dict[str, int]
    sampled: int
    elements_sampled: bool = False
    periodic: int = 0
    elements: dict[int, int] = field(default_factory=dict)
    atoms_range: tuple | None = None
    energy_range: tuple | None = None
    forces_range: tuple | None = None
    forces_rms: float | None = None
    ranges: dict[str, tuple] = field(default_factory=dict)
    shortest: float | None = None
    weights_range: tuple | None = None
    weighted: int = 0
    config_types: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)


def coverage(
    snapshots: Snapshots,
    indices: ArrayLike | None = None,
    name: str | None = None,
    usual: LabelSample | None = None,
) -> Coverage:
    """What a data set, or its part `indices`, contains, with warnings about suspicious values.

    The warnings name labels and lengths that violate physical bounds, as wrong units and signs do, and frames whose
    labels are far beyond the `usual` (by default the forces of this data set).
    """
    indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices)
    index = snapshots.index
    sample = evenly_spaced(indices, SAMPLE)
    group = index.group[indices]
    result = Coverage(
        name=name or snapshots.name,
        structures=len(indices),
        atoms=int(index.atoms[indices].sum()),
        isolated_atoms=int(index.isolated[indices].sum()),
        groups=len(np.unique(group[group >= 0])),
        labels={label.name: int(index.has(label)[indices].sum()) for label in labels()},
        sampled=len(sample),
        elements_sampled=index.composition is None and len(sample) < len(indices),
    )
    if len(indices):
        result.atoms_range = (int(index.atoms[indices].min()), int(index.atoms[indices].max()))
    energies, sampled = EnergyBound(), LabelSample(e0s=None if usual is None else usual.e0s)
    _read_ranges(result, (snapshots[i] for i in sample), energies, sampled)
    if index.composition is not None:
        result.elements = _elements_of(index, indices)
    distances = _distances(result, snapshots, sample)
    frames = sampled_frames(snapshots, indices)
    absurd = (sampled if usual is None else usual).warning(result.name, sampled)
    warnings = (energies.warning(), distances.warning(), absurd, *_disagreements(frames))
    name = f"{snapshots.name}: "
    result.warnings = [w if w.startswith(snapshots.name) else name + w for w in warnings if w is not None]
    return result


def _elements_of(index, indices) -> dict[int, int]:
    """atomic number -> structures that contain it."""
    structures = np.bincount(index.composition[indices], minlength=len(index.compositions))
    return {z: n for z in index.elements if (n := int(structures[index.compositions.holding(z)].sum()))}


def _disagreements(frames) -> tuple:
    """Sentences where labels do not fit to each other, None where they do."""
    pairs = near_pairs(frames)
    bonds = hydrogen_force_constant(frames) is not None  # they tell a sign more surely than pairs of frames
    forces = stretching_warning(frames) if bonds else uphill_warning(pairs)
    return unit_warning(pairs), forces, energy_sign_warning(pairs), stress_warning(frames)


def _distances(result, snapshots, sample) -> DistanceBound:
    bound = DistanceBound()
    for i in evenly_spaced(sample, _DISTANCES):
        bound.add(snapshots[int(i)])
    result.shortest = bound.shortest if np.isfinite(bound.shortest) else None
    return bound


def _read_ranges(result, structures, *collectors):
    elements, kinds, weights = Counter(), Counter(), Counter()
    energies, largest, squares, components = [], [], 0.0, 0
    others = {label.name: [] for label in labels() if label not in (ENERGY, FORCES)}
    for structure in structures:
        elements.update(np.unique(structure.z).tolist())
        for collector in collectors:
            collector.add(structure)
        result.periodic += bool(structure.pbc.any())
        weights[structure.weight] += 1
        if structure.config_type is not None:
            kinds[structure.config_type] += 1
        if len(structure) == 1 and not structure.pbc.any():
            continue  # an isolated atom's energy is a reference, and its force is zero
        if structure.energy is not None:
            energies.append(structure.energy / len(structure))
        if structure.forces is not None:
            forces = np.asarray(structure.forces, dtype=np.float64)
            largest.append(np.linalg.norm(forces, axis=1).max())
            squares, components = squares + np.sum(forces**2), components + forces.size
        for name, values in others.items():
            if (value := getattr(structure, name)) is not None:
                values += [np.min(value), np.max(value)]
    result.weighted = weights.total() - weights[1.0]
    result.weights_range = _range(list(weights)) if result.weighted else None
    result.elements = dict(sorted(elements.items()))
    result.config_types = dict(kinds.most_common())
    result.energy_range, result.forces_range = map(_range, (energies, largest))
    result.ranges = {name: _range(values) for name, values in others.items() if values}
    result.forces_rms = float(np.sqrt(squares / components)) if components else None


def _range(values):
    return (float(min(values)), float(max(values))) if values else None


def coverage_table(coverages: list[Coverage]) -> "Table":
    """A rich Table with one column per data set and units in the names of the rows."""
    from rich.table import Table

    table = Table(title="Data", title_justify="left")
    table.add_column("")
    for each in coverages:
        table.add_column(each.name, overflow="fold")
    for label, show in _rows():
        cells = [show(each) for each in coverages]
        if any(cell != "-" for cell in cells):
            table.add_row(label, *cells)
    return table


def _elements(c):
    from ase.data import chemical_symbols

    return " ".join(chemical_symbols[z] for z in c.elements) or "-"


def _share(name):
    def show(c):
        return f"{(n := c.labels[name])} of {c.structures}" + ("" if n == c.structures else " (rest masked)")

    return show


def _count(name):
    return lambda c: str(getattr(c, name) or "-")


def _span(name, digits):
    return lambda c: _interval(getattr(c, name), digits)


def _interval(values, digits):
    if values is None:
        return "-"
    low, high = (f"{value:.{digits}f}" for value in values)
    return low if low == high else f"{low} to {high}"


def _weights(c):
    return "-" if c.weights_range is None else f"{_span('weights_range', 3)(c)} ({c.weighted} differ from 1)"


def _config_types(c):
    shown = [f"{name} ({count})" for name, count in list(c.config_types.items())[:8]]
    return ", ".join(shown + ["..."] * (len(c.config_types) > 8)) or "-"


def _ranges(label: Label):
    unit = label.unit.replace("Angstrom", "Å").replace("^3", "³")
    return f"{label.name} components, {unit}", lambda c: _interval(c.ranges.get(label.name), 4)


def _rows():
    """(heading, what a Coverage has to say there)."""
    return (
        ("structures", lambda c: str(c.structures)),
        ("atoms", lambda c: str(c.atoms)),
        ("atoms per structure", _span("atoms_range", 0)),
        ("elements", _elements),
        ("trajectories or systems", _count("groups")),
        ("isolated atoms", _count("isolated_atoms")),
        ("periodic", _count("periodic")),
        *((f"with {label.name}", _share(label.name)) for label in labels()),
        ("shortest distance, Å", lambda c: "-" if c.shortest is None else f"{c.shortest:.3f}"),
        ("energy per atom, eV", _span("energy_range", 3)),
        ("largest force, eV/Å", _span("forces_range", 3)),
        ("RMS force component, eV/Å", lambda c: "-" if c.forces_rms is None else f"{c.forces_rms:.3f}"),
        *(_ranges(label) for label in labels() if label not in (ENERGY, FORCES)),
        ("weight in the loss", _weights),
        ("config_type", _config_types),
    )

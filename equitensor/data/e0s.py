"""E0s, the energies of isolated atoms: found in the data, given, read from a file, or fitted."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from equitensor.data.least_squares import fit, undetermined
from equitensor.data.sequence import Snapshots, evenly_spaced
from equitensor.data.yaml_values import parse_yaml
from equitensor.errors import InputError
from equitensor.graph.labels import ENERGY
from equitensor.graph.similar_elements import energies_of_atoms

_log = logging.getLogger(__name__)
_MOST_READ = 100_000  # structures, evenly spaced, of a store whose index does not have compositions and energies
_LARGEST = 1e4  # eV: tables of linear references fill what they do not know with huge numbers


@dataclass(frozen=True)
class E0s:
    """values: atomic number -> E0 in eV; origin: a description of how they were obtained."""

    values: dict[int, float]
    origin: str


def resolve_e0s(
    setting: str | Path | Mapping[str | int, float] | None, snapshots: Snapshots, indices: ArrayLike | None = None
) -> E0s:
    """Determine the E0 of each element in `snapshots`, in eV.

    Args:
        setting: None or "auto" (isolated atoms if the data contain all of them, else a fit), "isolated", "fit", a
            mapping from symbol or atomic number to eV, or a path: JSON, YAML, npz with `coeff[Z]`, or a file of single
            atoms that ASE reads.
        snapshots: the data.
        indices: the structures to fit to (the training set); None: all.

    Raises:
        InputError: an element without an E0, or a setting that cannot be read.
    """
    if isinstance(setting, Mapping):
        return _complete(_from_mapping(setting, "data.e0s"), snapshots, "given")
    if setting not in (None, "auto", "isolated", "fit"):
        return _complete(read_e0s(setting), snapshots, f"read from {setting}")
    if setting in (None, "auto", "isolated"):
        e0s = isolated_atoms(snapshots)
        missing = [z for z in snapshots.elements if z not in e0s]
        if not missing or setting == "isolated":
            return _complete(e0s, snapshots, "isolated atoms in the data")
        if e0s:
            _log.warning(
                "isolated atoms of %s are in the data but none of %s: E0s are fitted instead",
                _names(e0s),
                _names(missing),
            )
    return fit_e0s(snapshots, indices)


def isolated_atoms(snapshots: Snapshots) -> dict[int, float]:
    """Energies of the isolated atoms in the data. Raises InputError where two of one element disagree."""
    e0s: dict[int, float] = {}
    for i in np.flatnonzero(snapshots.index.isolated & snapshots.index.has(ENERGY)).tolist():
        structure = snapshots[i]
        _add(e0s, int(structure.z[0]), structure.energy, structure.source)
    return e0s


def fit_e0s(snapshots: Snapshots, indices=None) -> E0s:
    """Least squares sum_Z n_Z E0_Z = E over structures with an energy, in one pass, with a prior: E0s of alike elements
    are alike, and as far apart as cohesive energies as the data ask for (`least_squares.fit`).

    Elements that the compositions do not determine are named in a warning. Raises InputError where no structure has
    an energy.
    """
    indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices)
    indices = indices[snapshots.index.has(ENERGY)[indices]]
    elements = snapshots.elements
    if len(indices) == 0:
        raise InputError(f"{snapshots.name}: no energies to fit E0s to; give them as data.e0s")
    if snapshots.index.composition is None:
        indices = evenly_spaced(indices, _MOST_READ)
    compositions = _mean_energies(snapshots, indices, elements)
    counts = np.array(list(compositions), dtype=np.float64)
    energies, weights = np.array(list(compositions.values())).T
    solution = fit(counts, energies, weights, energies_of_atoms(elements))
    free, open_ones = undetermined(counts)
    if free:
        _log.warning(
            "E0s: the compositions do not determine %s of the E0s of %s, which are estimated from similar elements "
            "and cohesive energies. Better: data.e0s with energies of isolated atoms, or fits to more data",
            _combinations(free),
            _names(z for z, is_open in zip(elements, open_ones, strict=True) if is_open),
        )
    return E0s(
        {z: float(e) for z, e in zip(elements, solution.values, strict=True)},
        f"least squares over {len(indices)} structures of {len(compositions)} compositions"
        + (f", {_combinations(free)} undetermined" if free else "")
        + (
            ""
            if solution.unseen is None
            else f"; their error for a composition left out is {solution.unseen:.2g} eV per atom"
        ),
    )


def _combinations(count: int) -> str:
    return f"{count} combination" + "s" * (count > 1)


def _mean_energies(snapshots, indices, elements):
    """{counts per element: (mean energy, number of structures)}: all that the fit needs, and small."""
    sums: dict[tuple, list] = {}
    several = _sums_of_index if snapshots.index.composition is not None else _sums_of_structures
    for counts, total, number, reference in several(snapshots, indices, elements):
        entry = sums.setdefault(counts, [0.0, 0, reference])
        entry[0] += total + number * (reference - entry[2])  # about a reference: nothing is lost in a long sum
        entry[1] += number
    return {counts: (total / n + reference, n) for counts, (total, n, reference) in sums.items()}


def _sums_of_index(snapshots, indices, elements):
    """(counts, sum of energies less a reference, structures, reference) of each composition, from the index alone."""
    index = snapshots.index
    which, energies = index.composition[indices], index.energy[indices]
    used, first, which = np.unique(which, return_index=True, return_inverse=True)
    references = energies[first]
    totals = np.bincount(which, energies - references[which])
    counts = map(tuple, index.compositions.table(used, elements).tolist())
    yield from zip(counts, totals.tolist(), np.bincount(which).tolist(), references.tolist(), strict=True)


def _sums_of_structures(snapshots, indices, elements):
    """The same of each structure, read one by one."""
    column = {z: i for i, z in enumerate(elements)}
    for i in indices:
        structure = snapshots[i]
        counts = [0] * len(elements)
        for z, n in zip(*np.unique(structure.z, return_counts=True), strict=True):
            counts[column[int(z)]] = int(n)
        yield tuple(counts), 0.0, 1, structure.energy


def read_e0s(path) -> dict[int, float]:
    """E0s in eV from JSON, YAML, npz (`coeff[Z]`) or single atoms. Raises InputError naming the file."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"data.e0s: {path}: no such file (nor one of auto, isolated, fit)")
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix in (".json", ".yaml", ".yml"):
        return _from_mapping(_parse(path), path)
    from equitensor.data.formats import ase

    e0s: dict[int, float] = {}
    for structure in ase.read(path):
        if len(structure) != 1:
            raise InputError(f"{structure.source}: {len(structure)} atoms; E0s are read from single atoms")
        if structure.energy is None:
            raise InputError(f"{structure.source}: no energy")
        _add(e0s, int(structure.z[0]), structure.energy, structure.source)
    return e0s


def _parse(path):
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text())
        return parse_yaml(path.read_text())
    except Exception as error:  # of json's, yaml's or of decoding: each means that the file is not what it says
        raise InputError(f"{path}: cannot be read: {error}") from None


def _from_npz(path):
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = list(file)
            table = np.array(file["coeff"], dtype=np.float64) if "coeff" in names else None
    except Exception:  # of numpy's, zipfile's or zlib's: each means that the file is not what it says
        raise InputError(
            f"data.e0s: {path} is no whole npz file of numbers: it is damaged, or of another kind"
        ) from None
    if table is None:
        raise InputError(f"{path}: no array `coeff`; it has {', '.join(names) or 'none'}")
    if table.ndim != 1 or not np.isfinite(table).all():
        raise InputError(f"{path}: `coeff` is not one finite number per atomic number, its shape is {table.shape}")
    return {z: float(e) for z, e in enumerate(table) if z > 0 and abs(e) <= _LARGEST}


def _from_mapping(mapping, where) -> dict[int, float]:
    from ase.data import atomic_numbers

    if not isinstance(mapping, Mapping):
        raise InputError(f"{where}: expected a mapping from element to eV, like {{H: -13.6, O: -2043.9}}")
    values = {}
    for key, energy in mapping.items():
        z = atomic_numbers.get(str(key).strip(), int(key) if str(key).strip().isdigit() else 0)
        if not 1 <= z <= 118:
            raise InputError(f"{where}: {key!r} is no element")
        if isinstance(energy, bool) or not isinstance(energy, int | float) or not np.isfinite(energy):
            raise InputError(f"{where}: the E0 of {key} is {energy!r}, not a number in eV")
        values[z] = float(energy)
    return values


def _add(e0s, z, energy, source):
    if abs(e0s.setdefault(z, energy) - energy) > 1e-3:
        raise InputError(
            f"{source}: a second isolated {_names([z])} atom, with energy {energy:.6g} eV instead of "
            f"{e0s[z]:.6g}; keep one, or give data.e0s"
        )


def _complete(values, snapshots, origin) -> E0s:
    missing = [z for z in snapshots.elements if z not in values]
    if missing:
        raise InputError(
            f"data.e0s ({origin}): no E0 for {_names(missing)}, which {snapshots.name} contains; "
            "add them, or use data.e0s: fit"
        )
    return E0s({z: values[z] for z in snapshots.elements}, origin)


def _names(elements) -> str:
    from ase.data import chemical_symbols

    return ", ".join(chemical_symbols[z] for z in sorted(elements))

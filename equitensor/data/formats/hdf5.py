"""HDF5 files of SPICE, ANI-1x / ANI-1ccx and ANI-2x: groups with the conformations of one molecule or formula each.

| layout | a group holds | labels | units |
| --- | --- | --- | --- |
| SPICE | atomic_numbers, conformations | formation_energy (or dft_total_energy), dft_total_gradient | atomic |
| ANI-1x | atomic_numbers, coordinates | wb97x_dz.energy, wb97x_dz.forces | Hartree, Angstrom |
| ANI-2x | species (m, n), coordinates | energies, forces | Hartree, Angstrom |

Attributes `units` of a dataset come before these, options before both. In ANI NaN stands for what was not computed.
With another energy (ccsd(t)_cbs.energy of ANI-1ccx) forces are read of the same method, or none.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np

from equitensor.data.formats.label_options import LENGTH_UNIT, settings_with_labels
from equitensor.data.formats.stacked import Stack, read_stacks
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES, names
from equitensor.settings import Settings

_log = logging.getLogger(__name__)
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OF_ANI = re.compile(r".+_[dtq]z(?:_\w+)?\.(?:\w+_)?(?:energy|forces)|.+_cbs\.energy")  # in Hartree, Hartree/Angstrom
_ANI_UNITS = {"energy_unit": "Hartree", "length_unit": "Angstrom"}


@dataclass(frozen=True)
class _Layout:
    """Names of datasets. labels: energies in order of preference -> forces (or gradient) of the same calculation."""

    name: str
    numbers: str
    positions: str
    labels: dict[str, str]
    units: dict[str, str]

    def fits(self, group) -> bool:
        return self.numbers in group and self.positions in group


_LAYOUTS = (
    _Layout(
        name="SPICE",
        numbers="atomic_numbers",
        positions="conformations",
        labels={"formation_energy": "dft_total_gradient", "dft_total_energy": "dft_total_gradient"},
        units={"energy_unit": "Hartree", "length_unit": "Bohr"},
    ),
    _Layout(
        name="ANI-1x",
        numbers="atomic_numbers",
        positions="coordinates",
        labels={
            "wb97x_dz.energy": "wb97x_dz.forces",
            "ccsd(t)_cbs.energy": "",
            "wb97x_tz.energy": "wb97x_tz.forces",
        },
        units=_ANI_UNITS,
    ),
    _Layout("ANI-2x", "species", "coordinates", {"energies": "forces"}, _ANI_UNITS),
)


def recognises(path: Path) -> bool:
    """Whether `path` is an HDF5 file of one of the layouts; never without h5py, which alone can tell."""
    if not is_hdf5(path) or not has_h5py():
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return next(_groups(file), None) is not None
    except OSError:
        return False


def read(
    path: Path, length_unit: Annotated[str | None, LENGTH_UNIT] = None, **label_options: str | None
) -> Iterator[Structure]:
    """The conformations of all groups, in order of name; a group is Structure.group, SPICE's subset the config_type.

    label_options: <label>_key and <label>_unit of each label of the table. Raises InputError naming file, group and
    dataset; where h5py is missing it says how to get it.
    """
    if not has_h5py():
        raise InputError(f"{path}: HDF5 is read with h5py, an extra: pip install equitensor[hdf5]")
    options = {"length_unit": length_unit} | label_options
    with _opened(path) as file:
        first = next(_groups(file), None)
        if first is None:
            known = "; ".join(f"{each.numbers} and {each.positions} ({each.name})" for each in _LAYOUTS)
            raise InputError(f"{path}: no group in this file holds {known}")
        layout, group = first
        keys = _keys(layout, group, options)
        named = keys | {label: name for label in names() if (name := options.get(f"{label}_key")) and name in group}
        units = layout.units | _units(layout, group, named, options, path)
        wanted = {*named.values(), *(value for option, value in options.items() if option.endswith("_key") and value)}
        alike = {name: _unit(group[name]) for name in (layout.positions, *named.values())}
        stacks = (_stack(_same(layout, each, below, alike, path), below, wanted, path) for each, below in _groups(file))
        yield from read_stacks(path, stacks, keys, units, options, nan_is_missing=layout.name != "SPICE")


def settings() -> type[Settings]:
    """The keys and units of all labels, and length_unit."""
    return settings_with_labels(read)


@lru_cache(maxsize=1)
def has_h5py() -> bool:
    """Whether h5py is installed."""
    return find_spec("h5py") is not None


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == SIGNATURE


def _opened(path):
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a whole HDF5 file ({error}); copy it again") from None


def _groups(group) -> Iterator:
    """(layout, group) of all groups of known layouts, in order of name."""
    import h5py

    for name in group:
        if group.get(name, getclass=True) is not h5py.Group:
            continue
        below = group[name]
        layout = next((layout for layout in _LAYOUTS if layout.fits(below)), None)
        if layout is None:
            yield from _groups(below)
        else:
            yield layout, below


def _keys(layout: _Layout, group, options: dict) -> dict:
    """Label -> dataset, those that the group has; forces are those of the calculation of the energy."""
    keys = {}
    energy = options.get(f"{ENERGY.name}_key")
    if energy is None:
        present = [name for name in layout.labels if name in group]
        keys = {ENERGY.name: present[0]} if present else {}
        if len(present) > 1:
            others = " or ".join(present[1:])
            _log.warning(
                "%s: the energies are %s; energy_key names others, as %s", group.file.filename, present[0], others
            )
        energy = present[0] if present else next(iter(layout.labels))
    elif energy.lower() == "none":
        energy = next(iter(layout.labels))
    forces = layout.labels.get(energy)
    return keys | ({FORCES.name: forces} if forces and forces in group else {})


def _units(layout: _Layout, group, named: dict, options: dict, path: Path) -> dict:
    """The units that the attributes of the first group's datasets name. InputError where nothing says a label's."""
    by_option = {"length_unit": _unit(group[layout.positions])}
    by_option |= {f"{label}_unit": _unit(group[name]) for label, name in named.items()}
    known = {*layout.labels, *layout.labels.values()}
    for label, name in named.items():
        is_known = name in known or (layout.name == "ANI-1x" and _OF_ANI.fullmatch(name))
        units = (by_option[f"{label}_unit"], options.get(f"{label}_unit"), options.get(f"{ENERGY.name}_unit"))
        if not is_known and not any(units):
            raise InputError(f"{path}: the file does not say in which unit {name} is; name it with {label}_unit")
    if layout.name == "ANI-2x" and not any([*by_option.values(), options.get(f"{ENERGY.name}_unit")]):
        _log.warning("%s: no units are given; those of the ANI sets are assumed, Hartree and Angstrom", path)
    return {option: unit for option, unit in by_option.items() if unit}


def _same(layout: _Layout, other: _Layout, group, units: dict, path: Path) -> _Layout:
    """The layout, where a further group has it too, and the same units. Raises InputError elsewhere."""
    where = f"{path}, group {group.name.strip('/')}"
    if other is not layout:
        raise InputError(f"{where}: has the layout of {other.name}, but the file begins with {layout.name}")
    for name, unit in units.items():
        if name in group and _unit(group[name]) != unit:
            raise InputError(f"{where}: {name} is in {_unit(group[name])}, in the first group in {unit}")
    return layout


def _unit(dataset) -> str | None:
    unit = dataset.attrs.get("units")
    unit = unit.decode(errors="replace") if isinstance(unit, bytes) else unit
    return None if unit is None else str(unit).replace(" ", "")


def _stack(layout: _Layout, group, wanted: set[str], path: Path) -> Stack:
    where = f"{path}, group {group.name.strip('/')}"
    subset = group.get("subset") if layout.name == "SPICE" else None
    return Stack(
        where=where,
        z=_atomic_numbers(group[layout.numbers][()], where),
        pos=group[layout.positions][()],
        values={name: group[name][()] for name in sorted(wanted) if name in group},
        also=tuple(group),
        group=group.name.strip("/"),
        config_type=None if subset is None else _text(subset[()]),
    )


def _atomic_numbers(species: np.ndarray, where: str) -> np.ndarray:
    """The numbers, or those of chemical symbols (ANI-1 has these)."""
    if species.dtype.kind in "iuf":
        return species
    from ase.data import atomic_numbers

    symbols = [_text(each) for each in species.ravel()]
    if unknown := [symbol for symbol in symbols if symbol not in atomic_numbers]:
        raise InputError(f"{where}: species {unknown[0]!r} is no chemical symbol")
    return np.array([atomic_numbers[symbol] for symbol in symbols]).reshape(species.shape)


def _text(value) -> str:
    value = np.ravel(value)[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

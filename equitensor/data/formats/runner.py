"""RuNNer's and n2p2's `input.data`, which do not say in which units they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from equitensor.data.formats.xyz import head
from equitensor.errors import InputError


def is_runner(path: Path) -> bool:
    """Whether a file begins with a structure of RuNNer; LAMMPS gives its data files the same ending."""
    return any(line.split()[:1] == ["begin"] for line in head(path, 100))


def frames(path: Path, energy_unit: str | None, length_unit: str | None) -> Iterator:
    """The ase.Atoms of a file with its values as they stand. Raises InputError where a unit is not given."""
    from ase.io import iread
    from ase.io.runner.runneratoms import Units

    if energy_unit is None or length_unit is None:
        raise InputError(
            f"{path}: data of RuNNer or n2p2 may be in any units; name them: energy_unit=Hartree length_unit=Bohr, "
            "as RuNNer has them, or energy_unit=eV length_unit=Angstrom (--energy-unit, --length-unit)"
        )
    as_they_stand: dict[str, Any] = {"input_units": Units.ASE, "output_units": Units.ASE}
    yield from iread(str(path), ":", format="runnerdata", do_not_split_by_at_sign=True, **as_they_stand)

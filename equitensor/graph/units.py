"""Units of labels in files, as factors to eV, Angstrom, eV/Angstrom and eV/Angstrom^3.

A minus before a unit ("-eV/Angstrom", "-kbar") turns the sign: gradients, compression as positive stress.
"""

from collections.abc import Callable, Mapping

from equitensor.errors import InputError

SEPARATOR = r"[_\-. :]"  # between the words of a name in a file

_ENERGY = {
    "ev": 1.0,
    "mev": 1e-3,
    "kcal/mol": "kcal/mol",
    "kj/mol": "kJ/mol",
    "hartree": "Hartree",
    "ha": "Hartree",
    "au": "Hartree",  # as sGDML writes it, of lengths too
    "a.u.": "Hartree",
    "rydberg": "Rydberg",
    "ry": "Rydberg",
}
_LENGTH = {"angstrom": 1.0, "a": 1.0, "ang": 1.0, "å": 1.0, "bohr": "Bohr", "au": "Bohr", "a.u.": "Bohr", "nm": "nm"}
_PRESSURE = {"gpa": 1.0, "mpa": 1e-3, "kbar": 0.1, "bar": 1e-4, "pa": 1e-9}


def _factor(value) -> float:
    """ASE's value (CODATA 2014) of a unit that is not a plain number here."""
    from ase import units

    if not isinstance(value, str):
        return value
    name, _, per = value.partition("/")
    return getattr(units, name) / (units.mol if per else 1.0)


def _lookup(table, name, option):
    key = str(name).strip().lower()
    if key not in table:
        known = "eV, meV, kcal/mol, kJ/mol, Hartree, Rydberg" if table is _ENERGY else "Angstrom, Bohr, nm"
        raise InputError(f"{option}: unknown unit {name!r}; known: {known}")
    return _factor(table[key])


def _signed(name) -> tuple[float, str]:
    name = str(name).strip()
    return (-1.0, name[1:].strip()) if name.startswith("-") else (1.0, name)


def parser(factors: Mapping[str, float]) -> Callable[[str, str], float]:
    """What `Label.parse_unit` is of a label whose units have these names, in any case, and factors to the label's.

    It raises InputError for an unknown name.
    """
    known = {name.lower(): factor for name, factor in factors.items()}

    def parse_unit(name: str, option: str) -> float:
        sign, unit = _signed(name)
        if unit.lower() not in known:
            raise InputError(f"{option}: unknown unit {name!r}; known: {', '.join(factors)}")
        return sign * known[unit.lower()]

    return parse_unit


def energy_factor(name: str, option: str = "energy_unit") -> float:
    """The energy unit in eV, negative with a minus before it. Raises InputError for an unknown one."""
    sign, name = _signed(name)
    return sign * _lookup(_ENERGY, name, option)


def length_factor(name: str, option: str = "length_unit") -> float:
    """The length unit in Angstrom. Raises InputError for an unknown one."""
    return _lookup(_LENGTH, name, option)


def forces_factor(name: str, option: str = "forces_unit") -> float:
    """An "energy/length" unit ("kcal/mol/Angstrom", "Hartree/Bohr") in eV/Angstrom."""
    energy, slash, length = str(name).rpartition("/")
    if not slash:
        raise InputError(f"{option}: {name!r} is not of the form energy/length, like eV/Angstrom or Hartree/Bohr")
    return energy_factor(energy, option) / length_factor(length, option)


def stress_factor(name: str, option: str = "stress_unit") -> float:
    """A pressure ("GPa", "kbar") or "energy/length^3" ("eV/Angstrom^3") unit in eV/Angstrom^3."""
    sign, key = _signed(name)
    key = key.lower()
    if key in _PRESSURE:
        return sign * _PRESSURE[key] * _factor("GPa")
    energy, slash, volume = key.rpartition("/")
    length, cubed, _ = volume.replace("**", "^").partition("^3")
    if not (slash and cubed):
        raise InputError(f"{option}: {name!r} is neither GPa, kbar, bar nor of the form eV/Angstrom^3")
    return sign * energy_factor(energy, option) / length_factor(length, option) ** 3

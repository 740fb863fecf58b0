"""Comment lines of XYZ files: key=value pairs in any case, and the energies that programs write there in words."""

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from equitensor.graph.units import energy_factor

_NUMBER = r"([-+]?\d+\.\d*(?:[eEdD][-+]?\d+)?)"
# What each program writes; the energy, always in Hartree, is the group named E.
_ENERGY = _NUMBER.replace("(", "(?P<E>", 1)
_PROGRAMS = {
    "CP2K": re.compile(rf"i\s*=\s*(?P<step>\d+),.*\bE\s*=\s*{_ENERGY}\s*"),
    "ORCA": re.compile(rf"Coordinates from ORCA-job\s.*?\bE\s+{_ENERGY}\s*"),
    "xtb": re.compile(rf"(?:SCF done|energy:)\s*{_ENERGY}\s+gnorm:?\s.*"),
    "geomeTRIC": re.compile(rf"Iteration\s+\d+\s+Energy\s+{_ENERGY}\s*"),
    "CREST": re.compile(rf"(?=-){_ENERGY}(?:\s+!\S.*)?\s*"),  # a time or a distance would be positive
}
_TENSOR = re.compile(r"(?:(?<=\s)|^)(stress|virial)(?=\s|=|$)")
_STANDS_FOR = "\N{SECTION SIGN}"  # keeps ASE from insisting on nine values


def program(comment: str) -> str | None:
    """The program in whose words the comment line gives an energy, or None."""
    comment = comment.strip()
    return next((name for name, pattern in _PROGRAMS.items() if pattern.fullmatch(comment)), None)


@dataclass
class CommentParser:
    """Makes a dict of a comment line, for ASE's reader of extended XYZ (its `properties_parser`).

    Energies in the words of ORCA, xtb, CREST, CP2K or geomeTRIC are in Hartree; they come out under "energy" in
    eV, or as they stand where energy_unit is given. Of key=value pairs `lattice`, `properties` and `pbc` are
    known in any case, as GPUMD writes them, and `stress` and `virial` may have six values. `programs` counts
    the frames.
    """

    energy_unit: str | None = None
    programs: Counter = field(default_factory=Counter)

    def __call__(self, comment: str) -> dict:
        comment = comment.strip()
        if (name := program(comment)) is not None:
            self.programs[name] += 1
            return self._words(_PROGRAMS[name].fullmatch(comment))
        return _pairs(comment)

    def _words(self, match):
        energy = float(match["E"].lower().replace("d", "e"))
        info = {"energy": energy if self.energy_unit else energy * energy_factor("Hartree")}
        if step := match.groupdict().get("step"):
            info["step"] = int(step)
        return info


def _pairs(comment):
    from ase.io.extxyz import key_val_str_to_dict

    entries = key_val_str_to_dict(_TENSOR.sub(rf"\1{_STANDS_FOR}", comment))
    known = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
    info = {}
    for name, value in entries.items():
        name = known.get(name.lower(), name.removesuffix(_STANDS_FOR))
        if name == "Lattice":
            value = _matrix(value)
        elif name == "Properties":
            value = _properties(str(value))
        elif name in ("stress", "virial"):
            if isinstance(value, bool):
                continue  # a bare word; ASE would make the number 1 of it
            value = np.asarray(value)
            value = value.reshape((3, 3), order="F") if value.size == 9 else value
        elif isinstance(value, str):
            value = value.replace(_STANDS_FOR, "")
        info[name] = value
    return info


def _matrix(value):
    """The cell as ASE's reader wants it: the nine values in Fortran's order."""
    value = np.asarray(value)
    if value.size != 9 or value.dtype.kind not in "iuf":
        raise ValueError(f"Lattice has {value.size} values in place of nine")
    return value.reshape((3, 3), order="F")


def _properties(text):
    """species:S:1:pos:R:3 from any mixture of cases; names of other columns stay as they are."""
    fields = text.split(":")
    known = {"species": "species", "pos": "pos", "z": "Z"}
    fields[::3] = [known.get(name.lower(), name) for name in fields[::3]]
    fields[1::3] = [kind.upper() for kind in fields[1::3]]
    return ":".join(fields)

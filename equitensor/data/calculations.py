"""Which files of a folder belong to one calculation, and which of them to read."""

from pathlib import Path

_COMPRESSED = (".gz", ".bz2", ".xz")
# Of each program: outputs with every frame and its labels, the best first, and all other files that it reads or writes.
_VASP = """
    CONTCAR POSCAR XDATCAR OSZICAR INCAR KPOINTS POTCAR IBZKPT EIGENVAL DOSCAR PCDAT WAVECAR CHGCAR CHG PROCAR LOCPOT
    ELFCAR REPORT WAVEDER vaspout.h5
"""
_PROGRAMS = (
    (("vasprun.xml", "OUTCAR"), _VASP.split()),
    (("aims.out",), ["geometry.in", "geometry.in.next_step", "control.in", "hessian.aims"]),
)


def passed_over(files: list[Path]) -> list[Path]:
    """The files of one folder that another of them makes superfluous: VASP's OUTCAR, CONTCAR, POSCAR, ... beside
    vasprun.xml, all but OUTCAR beside it; FHI-aims' inputs beside aims.out. Compressed files count by their names."""
    names = {_plain(file.name): file for file in reversed(files)}
    superfluous = set()
    for outputs, others in _PROGRAMS:
        if (best := next((name for name in outputs if name in names), None)) is not None:
            superfluous |= {*outputs, *others} - {best}
    return [file for file in files if (name := _plain(file.name)) in superfluous or names[name] != file]


def _plain(name: str) -> str:
    return next((name.removesuffix(end) for end in _COMPRESSED if name.endswith(end)), name)

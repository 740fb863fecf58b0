"""The compiled core, optional: without it everything works in plain torch; the CUDA sources beside the package.

Metadata is in setup.cfg; what the core is made of and how it is compiled, in CMakeLists.txt.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

PLAIN = "equitensor will compute in plain torch, more slowly"
CORE = "equitensor.libequitensor"
HERE = Path(__file__).resolve().parent


class WithSources(build_py):
    """Takes what is compiled elsewhere into the package: CUDA sources, the LAMMPS plug-in, the headers of the core."""

    def run(self) -> None:
        super().run()
        headers = ("csrc/include/*.h", "csrc/core/equitensor.h", "csrc/core/potential.h")
        patterns = ("csrc/cuda/*.cu", "csrc/lammps/*", *headers)
        for source in () if self.editable_mode else [path for pattern in patterns for path in glob(pattern)]:
            target = Path(self.build_lib, "equitensor", source)
            self.mkpath(str(target.parent))
            self.copy_file(source, str(target))


class OptionalCore(build_ext):
    """Builds the core with CMake, if it can, as a plain shared library inside the package."""

    def get_ext_filename(self, fullname: str) -> str:
        """No Python's name in it: any Python loads it."""
        return str(Path(*fullname.split("."))) + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except Exception as error:
            print(f"the core was not built ({type(error).__name__}: {error}); {PLAIN}", file=sys.stderr)
            self.extensions = []

    def build_extension(self, extension) -> None:
        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        self.mkpath(str(target.parent))
        with tempfile.TemporaryDirectory() as folder:
            configure = ["cmake", "-S", str(HERE), "-B", folder, "-DCMAKE_BUILD_TYPE=Release"]
            if shutil.which("ninja") and "CMAKE_GENERATOR" not in os.environ:  # without it CMake looks for make
                configure += ["-G", "Ninja"]
            subprocess.run(configure, check=True)
            build = ["cmake", "--build", folder, "--config", "Release", "--parallel", str(os.cpu_count() or 1)]
            subprocess.run(build, check=True)
            (built,) = Path(folder).rglob(target.name)
            self.copy_file(str(built), str(target))


class AnyPython(bdist_wheel):
    """The core depends on the platform alone: one wheel for every Python 3 and every torch."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "py3", "none", platform


if os.environ.get("EQUITENSOR_NO_EXT", "0") != "0":
    print(f"EQUITENSOR_NO_EXT is set: the core is not built; {PLAIN}", file=sys.stderr)
    modules = []
else:
    modules = [Extension(CORE, sources=[])]
setup(
    ext_modules=modules,
    cmdclass={"build_py": WithSources, "build_ext": OptionalCore, "bdist_wheel": AnyPython},
)

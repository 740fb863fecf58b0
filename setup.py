"""The compiled extension, optional: without it everything works in plain torch; the CUDA sources beside the package.

Metadata is in setup.cfg.
"""

import os
import sys
from glob import glob
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PLAIN = "equitensor will compute in plain torch, more slowly"


class WithSources(build_py):
    """Takes the sources that are compiled where they run, those of CUDA and of the LAMMPS plug-in, into the package."""

    def run(self) -> None:
        super().run()
        patterns = ("csrc/cuda/*.cu", "csrc/include/*.h", "csrc/lammps/*", "csrc/core/potential.h")
        for source in () if self.editable_mode else [path for pattern in patterns for path in glob(pattern)]:
            target = Path(self.build_lib, "equitensor", source)
            self.mkpath(str(target.parent))
            self.copy_file(source, str(target))


def extension() -> dict:
    """ext_modules and cmdclass for `setup`; nothing, and a line that says why, where they cannot be built."""
    if os.environ.get("EQUITENSOR_NO_EXT", "0") != "0":
        print(f"EQUITENSOR_NO_EXT is set: no extension is built; {PLAIN}")
        return {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError:
        print(f"torch is not here to build the extension against (pip install --no-build-isolation); {PLAIN}")
        return {}

    class OptionalExtension(BuildExtension):
        """Builds the extension if it can."""

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except Exception as error:
                print(f"the extension was not built ({type(error).__name__}: {error}); {PLAIN}")
                self.extensions = []

    # Without it at::parallel_for is a loop of one thread. Apple's compiler has no OpenMP of its own.
    openmp = ["-fopenmp"] if sys.platform == "linux" else []
    kernels = CppExtension(
        "equitensor._kernels",
        ["csrc/cpu/kernels.cpp", "csrc/ops/module.cpp"],
        depends=sorted(glob("csrc/*/*.h") + glob("csrc/*/*.inl")),
        extra_compile_args=["-O3", "-g0", "-std=c++17", "-ffp-contract=fast", *openmp],
        extra_link_args=openmp,
    )
    return {"ext_modules": [kernels], "cmdclass": {"build_ext": OptionalExtension}}


options = extension()
setup(**{**options, "cmdclass": {**options.get("cmdclass", {}), "build_py": WithSources}})

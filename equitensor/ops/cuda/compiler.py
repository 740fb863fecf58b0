"""CUDA C++ to machine code by NVRTC, which CuPy brings or finds; neither needs a GPU."""

from __future__ import annotations

import functools
import hashlib

from equitensor.ops.cuda.source import Source

OPTIONS = ("--std=c++17", "--device-as-default-execution-space", "--ptxas-options=-v")


class CompilationError(Exception):
    """NVRTC is not there, does not know the architecture, or refuses the source."""


@functools.cache
def _nvrtc():
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except ImportError as error:
        raise CompilationError(f"CuPy is not installed ({error})") from error
    except Exception as error:  # CuPy is here but its library is not: the type depends on its version
        first_line = (str(error).splitlines() or [""])[0]
        raise CompilationError(f"CuPy finds no NVRTC ({first_line}): pip install nvidia-cuda-nvrtc") from error
    return nvrtc


def version() -> str:
    """Of NVRTC, such as "13.0"; CompilationError where there is none."""
    return ".".join(map(str, _nvrtc().getVersion()))


def knows(arch: str) -> bool:
    """Whether NVRTC compiles for it; CompilationError where there is none."""
    return arch in [f"sm_{number}" for number in _nvrtc().getSupportedArchs()]


def key(source: Source, arch: str) -> str:
    """SHA-256 over all that the machine code depends on."""
    parts = [arch, version(), *OPTIONS, *source[:2], *(part for header in source.headers for part in header)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compile_source(source: Source, arch: str) -> tuple[bytes, str]:
    """(cubin, log) for an architecture such as "sm_90"; the log holds registers, shared memory and spills.

    Raises CompilationError with the first lines of the compiler's own words.
    """
    nvrtc = _nvrtc()
    if not knows(arch):
        raise CompilationError(f"NVRTC {version()} does not know {arch}: install one that does")
    names, texts = zip(*((name.encode(), text.encode()) for name, text in source.headers), strict=True)
    program = nvrtc.createProgram(source.text, source.name, texts, names)
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={arch}", *OPTIONS))
        return nvrtc.getCUBIN(program), nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        said = "\n".join(nvrtc.getProgramLog(program).splitlines()[:10])
        raise CompilationError(f"NVRTC refuses {source.name} for {arch} ({error}):\n{said}") from error
    finally:
        nvrtc.destroyProgram(program)

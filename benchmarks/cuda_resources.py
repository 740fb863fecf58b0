"""Registers, shared memory and spills of every CUDA kernel, compiled by NVRTC; needs CuPy and NVRTC, no GPU."""

import argparse
import time

import torch

from equitensor.bench.cuda_sources import resources, sources
from equitensor.ops.cuda.compiler import CompilationError, compile_source, version

CASES = ("1x128", "2x128", "3x64")
ROW = "{:30} {:8} {:8} {:7} {:>22} {:>9} {:>7} {:>8} {:>5}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", nargs="+", default=["sm_80", "sm_90", "sm_100"])
    parser.add_argument("--case", nargs="+", default=CASES, metavar="LxC", help="lmax and channels")
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    arguments = parser.parse_args()
    try:
        print(f"NVRTC {version()}")
    except CompilationError as error:
        parser.error(str(error))
    print(ROW.format("operator", "lmax, C", "dtype", "arch", "kernel", "registers", "shared", "spilled", "s"))
    for case in arguments.case:
        lmax, channels = map(int, case.split("x"))
        for dtype in arguments.dtype:
            for name, source in sources(lmax, channels, getattr(torch, dtype)).items():
                for arch in arguments.arch:
                    _report((name, f"{lmax}, {channels}", dtype, arch), source, arch)


def _report(labels: tuple, source, arch: str) -> None:
    begin = time.perf_counter()
    _, log = compile_source(source, arch)
    seconds = time.perf_counter() - begin
    for usage in resources(log):
        print(ROW.format(*labels, *usage, f"{seconds:.1f}"), flush=True)


if __name__ == "__main__":
    main()

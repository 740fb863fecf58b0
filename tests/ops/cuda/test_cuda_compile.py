"""Every CUDA kernel goes through NVRTC for the architectures that are promised; no GPU is needed."""

import pytest
import torch

from equitensor.bench.cuda_sources import resources, sources
from equitensor.ops.cuda.compiler import CompilationError, compile_source, version
from equitensor.ops.cuda.source import source

SHARED, REGISTERS = 48 * 1024, 255  # what a block and a thread may have


@pytest.fixture(autouse=True)
def nvrtc():
    try:
        version()
    except CompilationError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles(arch, dtype):
    for name, text in sources(1, 100, dtype).items():
        code, log = compile_source(text, arch)
        assert code[:4] == b"\x7fELF", name
        usage = resources(log)
        assert usage, f"{name}: no kernel in\n{log}"
        for kernel in usage:
            assert kernel.registers <= REGISTERS and kernel.shared <= SHARED and kernel.spilled == 0, (name, kernel)


def test_the_compiler_says_what_it_refuses():
    broken = source("uvu_convolution.cu", "this is not C++")
    with pytest.raises(CompilationError, match=r"NVRTC refuses uvu_convolution.cu for sm_90"):
        compile_source(broken, "sm_90")
    with pytest.raises(CompilationError, match="does not know sm_1"):
        compile_source(broken, "sm_1")

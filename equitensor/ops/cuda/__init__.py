"""The operators on a GPU: CUDA C++ from csrc/cuda, compiled by NVRTC through CuPy for the exact problem."""

from equitensor.ops.cuda.compiler import version
from equitensor.ops.cuda.dispatch import why_not

# Those with kernels.
OPERATIONS = (
    "edge sums",
    "edge read-out",
    "density product",
    "gaunt product",
    "uvu convolution",
    "uvu product",
    "uuu product",
)

__all__ = ["OPERATIONS", "version", "why_not"]

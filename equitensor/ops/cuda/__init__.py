"""The operators on a GPU: CUDA C++ from csrc/cuda, compiled by NVRTC through CuPy for the exact problem."""

from equitensor.ops.cuda.compiler import version
from equitensor.ops.cuda.dispatch import why_not

OPERATIONS = ("edge sums", "edge read-out", "density product", "gaunt product", "uvu convolution")  # those with kernels

__all__ = ["OPERATIONS", "version", "why_not"]

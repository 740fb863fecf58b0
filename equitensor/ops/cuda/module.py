"""Kernels on a GPU: found in the cache or compiled, loaded by CuPy, launched on torch's current stream."""

from __future__ import annotations

import functools
from typing import Protocol

import torch
from torch import Tensor

from equitensor.ops.cuda.cache import Cache, default_folder
from equitensor.ops.cuda.compiler import compile_source, key
from equitensor.ops.cuda.source import Source


class Kernels(Protocol):
    """The kernels of one source; arguments are tensors, None for null, and 64-bit integers."""

    def launch(self, name: str, grid: tuple[int, int, int], block: tuple[int, int, int], arguments: tuple) -> None: ...


def machine_code(source: Source, arch: str, cache: Cache) -> bytes:
    """The cubin, from the cache or compiled and then kept there; CompilationError where neither can be had."""
    name = key(source, arch)
    code = cache.read(source.name, name)
    if code is None:
        code, _ = compile_source(source, arch)
        cache.write(source.name, name, code)
    return code


@functools.cache
def load(source: Source, device: torch.device) -> Kernels:
    """The kernels of `source` on a GPU, once a process."""
    major, minor = torch.cuda.get_device_capability(device)
    return _GPUKernels(machine_code(source, f"sm_{major}{minor}", Cache(default_folder())), device)


class _GPUKernels:
    def __init__(self, code: bytes, device: torch.device) -> None:
        import cupy

        self.cupy, self.device, self.module = cupy, device, cupy.cuda.function.Module()
        with self._on_device():
            self.module.load(code)
        self.function = functools.cache(self.module.get_function)

    def _on_device(self):
        return self.cupy.cuda.Device(self.device.index)

    def launch(self, name: str, grid: tuple[int, int, int], block: tuple[int, int, int], arguments: tuple) -> None:
        stream = torch.cuda.current_stream(self.device).cuda_stream
        with self._on_device(), self.cupy.cuda.ExternalStream(stream, self.device.index):
            self.function(name)(grid, block, tuple(map(_argument, arguments)))


def _argument(value: Tensor | int | None) -> int:
    """CuPy passes an integer as 64 bits, which is what a pointer has."""
    if value is None:
        return 0
    return value.data_ptr() if isinstance(value, Tensor) else value

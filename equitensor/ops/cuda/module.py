"""Kernels on a GPU: found in the cache or compiled, loaded by CuPy, launched on torch's current stream."""

from __future__ import annotations

import functools
import math
import threading
from typing import Protocol

import torch
from torch import Tensor

from equitensor.ops.cuda import launches
from equitensor.ops.cuda.cache import Cache, default_folder
from equitensor.ops.cuda.compiler import CompilationError, compile_source, key
from equitensor.ops.cuda.proof import Proof, examine
from equitensor.ops.cuda.source import Source, Unsupported
from equitensor.ops.cuda.verdict import VARIABLE, Verdict, choice, digest_of_code, surroundings, words


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


def load(source: Source, device: torch.device) -> Kernels:
    """The kernels of `source` on a GPU.

    Raises Unproved where they have not been proved in this process, and Refused where they must not be used.
    """
    kernels = _settled.get((source, device))
    if kernels is None:
        kernels = getattr(_on_trial, "kernels", {}).get((source, device))
    if kernels is None:
        raise Unproved(source, device)
    if isinstance(kernels, str):
        raise Refused(source, device, kernels)
    return kernels


class Unproved(Exception):
    """These kernels must be compiled and compared with plain torch before they are used."""

    def __init__(self, source: Source, device: torch.device) -> None:
        super().__init__(f"{source.name} has not been proved")
        self.source, self.device = source, device


class Refused(Unsupported):
    """These kernels could not be had, or differ from plain torch."""

    def __init__(self, source: Source, device: torch.device, reason: str) -> None:
        super().__init__(reason)
        self.kernel, self.device = source.name, device


_settled: dict[tuple[Source, torch.device], Kernels | str] = {}  # or why they are refused
_on_trial = threading.local()  # .kernels: those that this thread compares
_lock = threading.RLock()
verdicts: list[Verdict] = []  # of the kernels of this process


def settle(unproved: Unproved, proof: Proof, arguments: tuple, dtype: torch.dtype) -> None:
    """Compile, load and prove kernels that a call with these arguments asked for: `load` knows them from now on.

    Raises RuntimeError during the capture of a CUDA graph, and where the proof has left the GPU unusable.
    """
    source, device = unproved.source, unproved.device
    if launches.capturing(device):
        raise RuntimeError(
            f"the kernel {source.name} has not been loaded and compared with plain torch yet, which cannot be done "
            "while a CUDA graph is captured: run the same step once before, with derivatives where the graph has them"
        )
    with _lock:
        if (source, device) in _settled:  # by another thread meanwhile
            return
        launches.settle(device)  # an error of what ran before is not the kernel's
        try:
            code, kernels = build(source, device)
        except CompilationError as error:
            _settled[source, device] = str(error)
            return
        except Exception as error:  # of the driver, of CuPy: the type depends on their versions
            _settled[source, device] = f"the kernel {source.name} cannot be loaded ({type(error).__name__}: {error})"
            return
        settled: Kernels | str = kernels
        if choice() != "never":
            judged = _judge(source, device, code, kernels, proof, arguments, dtype)
            verdicts.append(judged)
            if judged.refused is not None:
                reason = f"the kernel {source.name} {judged.refused} on {words(judged.on)}"
                settled = f"{reason}, and is not used; {VARIABLE}=always compares it again"
            elif judged.not_in_graphs is not None:
                settled = _NotInGraphs(kernels, device, f"the kernel {source.name} {judged.not_in_graphs}")
        _settled[source, device] = settled


def build(source: Source, device: torch.device) -> tuple[bytes, Kernels]:
    """Machine code, from the cache where it is there, and what launches it."""
    major, minor = torch.cuda.get_device_capability(device)
    code = machine_code(source, f"sm_{major}{minor}", Cache(default_folder()))
    return code, _GPUKernels(code, device)


def _judge(source: Source, device: torch.device, code: bytes, kernels: Kernels, proof, arguments, dtype) -> Verdict:
    """From the cache or made now and then kept there."""
    on, digest, cache = surroundings(device), digest_of_code(code), Cache(default_folder())
    name = key(source, f"sm_{on['compute capability'].replace('.', '')}")
    judged = cache.read_verdict(source.name, name, digest, on) if choice() == "first" else None
    if judged is None:
        _on_trial.kernels = {(source, device): kernels}
        try:
            finding = examine(proof, arguments, dtype, device)
        finally:
            _on_trial.kernels = {}
        difference = finding.difference if math.isfinite(finding.difference) else None
        judged = Verdict(source.name, name, digest, on, difference, *finding[1:])
        cache.write_verdict(judged)
        _check_that_it_lives(source, device, judged)
    return judged


def _check_that_it_lives(source: Source, device: torch.device, judged: Verdict) -> None:
    try:
        launches.settle(device)
    except Exception as error:
        raise RuntimeError(
            f"the kernel {source.name} {judged.refused or judged.not_in_graphs} on {words(judged.on)}, and the GPU "
            "cannot be used in this process any more: start the program again, and plain torch will compute instead"
        ) from error


class _NotInGraphs:
    """Kernels whose results are right unless a CUDA graph is captured."""

    def __init__(self, kernels: Kernels, device: torch.device, reason: str) -> None:
        self.kernels, self.device, self.reason = kernels, device, reason

    def launch(self, *arguments) -> None:
        if launches.capturing(self.device):
            raise RuntimeError(f"{self.reason}: run without CUDA graphs, or compare it again with {VARIABLE}=always")
        self.kernels.launch(*arguments)


class _GPUKernels:
    def __init__(self, code: bytes, device: torch.device) -> None:
        import cupy

        self.cupy, self.device, self.module = cupy, device, cupy.cuda.function.Module()
        with self._on_device():
            self.module.load(code)
        self.function = functools.cache(self.module.get_function)

    def _current_stream(self):
        """Torch's, as CuPy's; CuPy before 14 has another name for it, which CuPy since 14 warns of at each launch."""
        pointer = torch.cuda.current_stream(self.device).cuda_stream
        if hasattr(self.cupy.cuda.Stream, "from_external"):
            return self.cupy.cuda.Stream.from_external(_Stream(pointer))
        return self.cupy.cuda.ExternalStream(pointer, self.device.index)

    def _on_device(self):
        return self.cupy.cuda.Device(self.device.index)

    def launch(self, name: str, grid: tuple[int, int, int], block: tuple[int, int, int], arguments: tuple) -> None:
        with self._on_device(), self._current_stream():
            self.function(name)(grid, block, tuple(_argument(value, self.device) for value in arguments))


class _Stream:
    """An address as the CUDA stream protocol has it."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


def _argument(value: Tensor | int | None, device: torch.device) -> int:
    """CuPy passes an integer as 64 bits, which is what a pointer has."""
    if value is None:
        return 0
    if not isinstance(value, Tensor):
        return value
    if value.device != device:  # its address would mean something else there
        raise RuntimeError(
            f"a kernel on {device} was given a tensor on {value.device}: move the model and its input to one device"
        )
    if not (value.is_floating_point() or value.dtype == torch.int64):
        raise RuntimeError(f"a kernel was given indices in {value.dtype}: they must be torch.int64")
    return value.data_ptr()

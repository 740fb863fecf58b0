"""The CUDA sources as C++ on the host: the same files, compiled by the system's compiler, blocks run one by one."""

import ctypes
import hashlib
import re
import shutil
import subprocess

import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from equitensor.ops import availability
from equitensor.ops.cuda import dispatch, module
from equitensor.ops.cuda.source import folder

COMPILER = shutil.which("g++") or shutil.which("c++")
KERNEL = re.compile(r'extern "C" __global__ void (?:EQUITENSOR_BOUNDS|__launch_bounds__\([\w, ]+\))\s+(\w+)\(')
ENTRY = """
extern "C" int host_{0}(const unsigned* dims, void** arguments, int falling) {{
  return host::run({0}, dims, arguments, falling);
}}
"""


class HostKernels:
    """Launches as the GPU does, twice: threads in rising, then in falling order, which must give the same bits."""

    def __init__(self, library):
        self.library = ctypes.CDLL(str(library))

    def launch(self, name, grid, block, arguments):
        dims = (ctypes.c_uint * 6)(*grid, *block)
        values = [ctypes.c_int64(_number(value)) for value in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        addresses = []
        for falling in (0, 1):
            assert getattr(self.library, f"host_{name}")(dims, pointers, falling) == 0, "threads wait for each other"
            addresses.append([tensor.clone() for tensor in tensors])
        for rising, falling in zip(*addresses, strict=True):
            assert rising.view(-1).tolist() == falling.view(-1).tolist(), "numbers depend on the order of threads"


def _number(value):
    if value is None:
        return 0
    return value.data_ptr() if isinstance(value, Tensor) else value


@pytest.fixture(scope="session")
def host_compiled(tmp_path_factory):
    """source -> kernels, compiled once each."""
    if COMPILER is None:
        pytest.skip("no C++ compiler to run the CUDA sources on the host")
    build, made = tmp_path_factory.mktemp("host"), {}
    _compile(
        "-x", "c++-header", folder() / "include" / "threads.h", "-o", build / "threads.h.gch"
    )  # saves half the time

    def load(source, device=None):
        if source not in made:
            stem = build / hashlib.sha256(repr(source).encode()).hexdigest()[:16]
            made[source] = HostKernels(_build(source, stem))
        return made[source]

    return load


def _build(source, stem):
    stem.mkdir()
    (stem / "problem.h").write_text(dict(source.headers)["problem.h"])
    (stem / "kernels.cpp").write_text(source.text + "".join(map(ENTRY.format, KERNEL.findall(source.text))))
    _compile("-shared", "-I", stem.parent, stem / "kernels.cpp", "-o", stem / "kernels.so")
    return stem / "kernels.so"


def _compile(*arguments):
    command = [COMPILER, "-std=c++17", "-O0", "-fPIC", *map(str, arguments), "-I", str(folder() / "include")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]


@pytest.fixture
def on_host(host_compiled, monkeypatch):
    """Lets the wrappers of ops/cuda run on CPU tensors."""
    monkeypatch.setattr(module, "load", host_compiled)


class OnGPU(TorchDispatchMode):
    """While it lasts, operators on CPU tensors are computed by what computes them on a GPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        space, _, name = function._schema.name.partition("::")
        if space == "equitensor" and name in dispatch.IMPLEMENTED:
            return dispatch.IMPLEMENTED[name](*args)
        return function(*args, **(kwargs or {}))


class HostGPU:
    """A GPU for `module` and `dispatch`: CPU tensors, kernels compiled for the host, a cache of its own."""

    def __init__(self, host_compiled, folder) -> None:
        self.host_compiled, self.folder = host_compiled, folder
        self.surroundings = {"device": "a GPU", "compute capability": "9.0", "driver": "580.1", "runtime": "13000"}
        self.breaks = {}  # what is done to kernels: name of a file -> function(kernels, source) -> kernels
        self.built, self.launched = [], 0
        self.takes_over = OnGPU

    def build(self, source, device):
        self.built.append(source)
        kernels = self.host_compiled(source)
        spoil = self.breaks.get(source.name)
        return repr(source).encode(), _Counted(self, spoil(kernels, source) if spoil else kernels)

    def restart(self) -> None:
        """As another process: nothing is known but what is in the cache."""
        module._settled.clear()
        module.verdicts.clear()
        dispatch._refusals.clear()
        dispatch._warn_once.cache_clear()
        self.built, self.launched = [], 0


class _Counted:
    def __init__(self, gpu, kernels) -> None:
        self.gpu, self.kernels = gpu, kernels

    def launch(self, *arguments):
        self.gpu.launched += 1
        self.kernels.launch(*arguments)


@pytest.fixture
def host_gpu(host_compiled, tmp_path, monkeypatch):
    """Operators take it where `with host_gpu.takes_over()` says so."""
    if availability.WHY_NOT:
        pytest.skip(availability.WHY_NOT)
    gpu = HostGPU(host_compiled, tmp_path)
    monkeypatch.delenv("EQUITENSOR_KERNEL_PROOF", raising=False)
    monkeypatch.setattr(module, "build", gpu.build)
    monkeypatch.setattr(module, "surroundings", lambda device: gpu.surroundings)
    monkeypatch.setattr(module, "key", lambda source, arch: hashlib.sha256(repr((source, arch)).encode()).hexdigest())
    monkeypatch.setattr(module, "default_folder", lambda: gpu.folder)
    monkeypatch.setattr(dispatch, "why_not", lambda: None)
    gpu.restart()
    yield gpu
    gpu.restart()

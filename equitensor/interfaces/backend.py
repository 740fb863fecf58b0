"""What computes a potential: the compiled evaluator on a CPU where it can, torch otherwise, and why."""

import ctypes
import sys
from pathlib import Path

from equitensor.errors import InputError
from equitensor.interfaces.evaluator import PRECISIONS, Model
from equitensor.interfaces.evaluator_library import why_not

BACKENDS = ("auto", "core", "torch")
_IN_CORE = "the compiled evaluator takes this model, on the CPU"
_DRIVERS = ("libcuda.so.1", "libamdhip64.so", "nvcuda.dll", "amdhip64.dll")


def open_engine(
    model, device="auto", dtype="float32", skin=0.5, backend="auto", threads=None, d3=None, error_bars=True
):
    """(engine, why): what computes the potential, a CoreEngine or a TorchEngine, and the reason in a sentence.

    With the dispersion of the model, or the one asked for, it is one of these in a `WithD3`; of several models a
    `Committee`, whose factors are those that the first one's file keeps.

    Args: as `equitensor.Calculator`. Raises InputError where `backend` cannot be had, and for what is no model.
    """
    if isinstance(model, list | tuple):
        added = _common_dispersion(model, d3)
        engine, why = _open_committee(model, device, dtype, skin, backend, threads)
        if error_bars:
            engine.calibrated()
    else:
        added = dispersion(model, d3)
        engine, why = open_bare(model, device, dtype, skin, backend, threads)
    if added is not None:
        from equitensor.interfaces.dispersion import WithD3

        engine = WithD3(engine, added)
    if not error_bars:
        engine.error_bars = None
    return engine, why


def _open_committee(models, *how):
    """(Committee, why): model files or Potentials as one, not calibrated and without any dispersion."""
    from equitensor.interfaces.committee import Committee, digest_of

    opened = [open_bare(each, *how) for each in models]
    names = [str(each) if isinstance(each, str | Path) else f"model {k + 1}" for k, each in enumerate(models)]
    engines, digests = [engine for engine, _ in opened], [digest_of(each) for each in models]
    return Committee(engines, digests, names), opened[0][1]


def _common_dispersion(models, asked: str | None):
    dispersions = [dispersion(each, asked) for each in models]
    if len({each and each.name for each in dispersions}) > 1:
        raise InputError(
            "the models of a committee learned labels without different dispersion: they need the same data"
        )
    return dispersions[0]


def dispersion(model, asked: str | None = None):
    """The D3 that is to be added to a model file or Potential, or None. Raises InputError as `d3_of`."""
    from equitensor.models import d3_of, read_header

    is_file = isinstance(model, str | Path)
    own = read_header(model).get("d3") if is_file else getattr(model, "d3", None)
    return d3_of(own, asked)


def open_bare(model, device="auto", dtype="float32", skin=0.5, backend="auto", threads=None):
    """`open_engine` without any dispersion, whatever the model says."""
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown: say {', '.join(BACKENDS)}")
    reason = "it was asked for"
    if backend != "torch":
        opened, reason = _open_in_core(model, device, dtype)
        if opened is not None:
            from equitensor.interfaces.core_engine import CoreEngine

            return CoreEngine(opened, _precision(dtype, opened), skin, threads), _IN_CORE
        if backend == "core":
            raise InputError(f"backend 'core' is not possible: {reason}")
    if threads is not None:
        raise InputError(
            f"threads is {threads}, but torch computes ({reason}), whose threads OMP_NUM_THREADS or "
            "torch.set_num_threads sets: leave it out"
        )
    from equitensor.interfaces.torch_engine import TorchEngine

    return TorchEngine(model, device, dtype, skin), reason


def backend_of(model, device="auto", dtype=None) -> tuple[str, str]:
    """("core" or "torch", why): what backend="auto" takes for a model file. Raises InputError for what is none."""
    opened, reason = _open_in_core(model, device, dtype)
    return ("torch", reason) if opened is None else ("core", _IN_CORE)


def _open_in_core(model, device, dtype) -> tuple[Model | None, str]:
    """The model opened by the evaluator, or None; and why."""
    reason = why_not() or _device_reason(device) or _dtype_reason(dtype)
    if reason is not None:
        return None, reason
    if isinstance(model, str | Path):
        from equitensor.models import read_header

        read_header(model)  # what is no model file is not for torch either
        source: str | Path | bytes = model
    else:
        packed, reason = _packed(model)
        if packed is None:
            return None, reason
        source = packed
    try:
        opened = Model(source, without_d3=True)
    except InputError as error:
        return None, str(error)
    reason = _dtype_reason(_precision(dtype, opened))
    return (opened, "") if reason is None else (None, reason)


def _packed(model) -> tuple[bytes | None, str]:
    """A Potential as the bytes of its model file, or None and why it has none."""
    from equitensor.models import Potential, to_bytes
    from equitensor.models.backbone import EvaluatedBackbone

    if type(model) is not Potential:
        return None, f"{type(model).__name__} is not a Potential"
    if not isinstance(model.backbone, EvaluatedBackbone):
        return None, f"the compiled evaluator does not know the architecture {model.settings.get('architecture')}"
    if not model.backbone.tables():
        return None, f"the compiled evaluator does not know the product {model.settings.get('product')}"
    return to_bytes(model), ""


def _device_reason(device) -> str | None:
    """Why the device is none for the evaluator, which computes on CPUs."""
    name = str(device)
    if name == "auto":
        return "torch has a GPU here" if _torch_has_gpu() else None
    return None if name.split(":")[0] == "cpu" else f"device is {name!r}, the evaluator computes on a CPU"


def _torch_has_gpu() -> bool:
    """Whether there is a GPU that torch can use; torch is asked, and imported, only where a driver is installed."""
    if "torch" not in sys.modules and not any(_loads(driver) for driver in _DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _dtype_name(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtype_reason(dtype) -> str | None:
    known = dtype is None or _dtype_name(dtype) in PRECISIONS
    return None if known else f"dtype {dtype!r} is unknown: say float32 or float64"


def _precision(dtype, model: Model) -> str:
    return str(model.header.get("dtype")) if dtype is None else _dtype_name(dtype)

"""The compiled evaluator of potentials, csrc/core/potential.h, through ctypes: no torch."""

import ctypes
from functools import cache

from equitensor import core

_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64

EXCHANGE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT, _INT)
WAIT = ctypes.CFUNCTYPE(_INT, _POINTER)


class Exchange(ctypes.Structure):
    """equitensor_exchange."""

    _fields_ = (("context", _POINTER), ("border", _LONG), ("forward", EXCHANGE), ("reverse", EXCHANGE), ("wait", WAIT))


class Result(ctypes.Structure):
    """equitensor_result; the arrays as addresses."""

    _fields_ = (
        ("energy", ctypes.c_double),
        ("virial", ctypes.c_double * 6),
        ("energies", _POINTER),
        ("forces", _POINTER),
        ("virials", _POINTER),
        ("features", _POINTER),
        ("forces_std", _POINTER),
        ("novelty", _POINTER),
        ("sums", _POINTER),
    )


_SIGNATURES = {
    "message": (ctypes.c_char_p, ()),
    "model_read": (_INT, (ctypes.c_char_p, _LONG, ctypes.POINTER(_POINTER))),
    "model_read_without_d3": (_INT, (ctypes.c_char_p, _LONG, ctypes.POINTER(_POINTER))),
    "model_d3": (ctypes.c_char_p, (_POINTER,)),
    "model_close": (None, (_POINTER,)),
    "model_cutoff": (ctypes.c_double, (_POINTER,)),
    "model_num_elements": (_INT, (_POINTER,)),
    "model_elements": (ctypes.POINTER(ctypes.c_int32), (_POINTER,)),
    "model_num_features": (_INT, (_POINTER,)),
    "model_num_sums": (_INT, (_POINTER,)),
    "model_energy_std": (ctypes.c_double, (_POINTER, _POINTER)),
    "model_header": (ctypes.c_char_p, (_POINTER,)),
    "instructions": (ctypes.c_char_p, (_INT,)),
    "peak": (ctypes.c_double, (_INT,)),
    "system_new_with": (_INT, (_POINTER, _INT, _INT, ctypes.c_char_p, ctypes.POINTER(_POINTER))),
    "system_free": (None, (_POINTER,)),
    "system_neighbors": (_INT, (_POINTER, _LONG, _LONG, _POINTER, _POINTER, _POINTER)),
    "system_evaluate": (_INT, (_POINTER, _POINTER, _POINTER, ctypes.POINTER(Exchange), ctypes.POINTER(Result))),
}


@cache
def library() -> ctypes.CDLL | None:
    """The library with its functions declared, or None; then `why_not` says why."""
    return _load()[0]


def why_not() -> str | None:
    """None where the evaluator is there; else the reason, a sentence for the user."""
    return _load()[1]


@cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    library = core.LIBRARY
    if library is None:
        return None, core.WHY_NOT
    try:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, f"equitensor_{name}")
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        return None, f"the core does not load ({error}): build it again on this machine"
    return library, None

"""The compiled core, loaded through ctypes: it knows neither torch nor this Python; csrc/core/equitensor.h is its face.

`WHY_NOT` is None where it is loaded; else the reason, a sentence for the user.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from equitensor.errors import InputError

PRECISIONS = {"float32": 0, "float64": 1}
CMAKE = Path(__file__).with_name("cmake")  # where find_package(equitensor) finds the library and its headers
_NAME = "libequitensor" + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


def _load() -> tuple[ctypes.CDLL | None, str | None]:
    if os.environ.get("EQUITENSOR_NO_EXT", "0") != "0":
        return None, "EQUITENSOR_NO_EXT is set"
    path = Path(__file__).with_name(_NAME)
    if not path.is_file():
        return None, f"the core was not built: there is no {path.name} in the package; a C++ compiler is needed"
    try:
        library = ctypes.CDLL(str(path))
        for name in ("error", "instruction_set"):
            getattr(library, f"equitensor_{name}").restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        return None, f"the core does not load ({error}): build it again on this machine"
    return library, None


LIBRARY, WHY_NOT = _load()


def _loaded() -> ctypes.CDLL:
    if LIBRARY is None:
        raise InputError(f"there is no compiled core: {WHY_NOT}")
    return LIBRARY


def function(name: str, sizes: int, arrays: int, constants: int = 0):
    """equitensor_`name` for (precision, sizes and flags, constants, arrays as addresses or None, threads).

    Returns its status, 0 where all went well; None where the core is not loaded.
    """
    if LIBRARY is None:
        return None
    symbol = getattr(LIBRARY, f"equitensor_{name}")
    kinds = [ctypes.c_int64] * sizes + [ctypes.c_double] * constants + [ctypes.c_void_p] * arrays
    symbol.argtypes = [ctypes.c_int, *kinds, ctypes.c_int]
    symbol.restype = ctypes.c_int
    return symbol


def error() -> str:
    """Why this thread's last call that failed did so."""
    return _loaded().equitensor_error().decode()


def instruction_set() -> str:
    """The vectors that the kernels use on this processor."""
    return _loaded().equitensor_instruction_set().decode()


def has_openmp() -> bool:
    """Whether a call may use more than one thread."""
    return bool(_loaded().equitensor_has_openmp())

"""Other programs' names and units: ASE's calculator, molecular dynamics and relaxation through it; e3nn's products.

The names are loaded on first use: ASE's integrators and matplotlib are slow to import.
"""

import importlib

_LAZY = {
    "Calculator": "equitensor.interfaces.calculator",
    "MDSettings": "equitensor.interfaces.md",
    "run_md": "equitensor.interfaces.md",
    "accelerate": "equitensor.interfaces.acceleration",
    "relax": "equitensor.interfaces.relaxation",
}

__all__ = sorted(_LAZY)


def __getattr__(name):
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'equitensor.interfaces' has no attribute {name!r}")


def __dir__():
    return __all__

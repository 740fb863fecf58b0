"""E(3)-equivariant interatomic potentials with interchangeable tensor products.

The names below are loaded on first use, so that `import equitensor` (and `equitensor --help`) stays quick.
"""

import importlib

__version__ = "0.1.0"

_LAZY = {
    "load": ("equitensor.models", "load"),
    "save": ("equitensor.models", "save"),
    "Calculator": ("equitensor.interfaces", "Calculator"),
}
_ROOMS = ("o3", "ops", "graph", "nn", "models", "data", "training", "interfaces", "testing")

__all__ = ["__version__", *_LAZY, *_ROOMS]


def __getattr__(name):
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(importlib.import_module(module), attribute)
    if name in _ROOMS:
        return importlib.import_module(f"equitensor.{name}")
    raise AttributeError(f"module 'equitensor' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)

"""E(3)-equivariant interatomic potentials with interchangeable tensor products.

The names below are loaded on first use, so that `import equitensor` (and `equitensor --help`) stays quick.
"""

import importlib
from typing import TYPE_CHECKING

from equitensor.lazy import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from equitensor.interfaces import Calculator as Calculator
    from equitensor.interfaces import hessian as hessian
    from equitensor.models import load as load
    from equitensor.models import save as save

_LAZY = {
    "load": "equitensor.models",
    "save": "equitensor.models",
    "Calculator": "equitensor.interfaces",
    "hessian": "equitensor.interfaces",
}
_ROOMS = ("o3", "ops", "graph", "nn", "models", "data", "training", "interfaces", "testing")

__all__ = ["__version__", *_LAZY, *_ROOMS]
_load, _ = lazy(__name__, _LAZY)


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"equitensor.{name}")
    return _load(name)


def __dir__():
    return sorted(__all__)

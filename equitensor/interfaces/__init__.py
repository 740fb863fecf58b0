"""Other programs' names and units: ASE's calculator; dynamics, relaxation, vibrations through it; e3nn's products.

The names are loaded on first use: ASE's integrators and matplotlib are slow to import.
"""

from equitensor.lazy import lazy

_LAZY = {
    "Calculator": "equitensor.interfaces.calculator",
    "MDSettings": "equitensor.interfaces.md",
    "accelerate": "equitensor.interfaces.acceleration",
    "hessian": "equitensor.interfaces.hessian",
    "phonons": "equitensor.interfaces.phonons",
    "relax": "equitensor.interfaces.relaxation",
    "run_md": "equitensor.interfaces.md",
    "vibrations": "equitensor.interfaces.vibrations",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)

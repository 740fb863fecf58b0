"""Interfaces to other programs: ASE calculator, dynamics, relaxation, vibrations; drop-ins for e3nn and MACE.

The names are loaded on first use: ASE's integrators and matplotlib are slow to import.
"""

from typing import TYPE_CHECKING

from equitensor.lazy import lazy

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from equitensor.interfaces.acceleration import accelerate as accelerate
    from equitensor.interfaces.calculator import Calculator as Calculator
    from equitensor.interfaces.hessian import hessian as hessian
    from equitensor.interfaces.md import MDSettings as MDSettings
    from equitensor.interfaces.md import run_md as run_md
    from equitensor.interfaces.phonons import phonons as phonons
    from equitensor.interfaces.relaxation import relax as relax
    from equitensor.interfaces.vibrations import vibrations as vibrations

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

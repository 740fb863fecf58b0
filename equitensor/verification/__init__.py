"""Whether a calculator obeys physics and its own derivatives: checks of any ASE calculator, and of a model file.

A check is a function from a calculator and a structure to deviations with bounds, and has twins in the tests, broken
calculators that it must reject. Checks know ASE's interface only. The names are loaded on first use.
"""

from typing import TYPE_CHECKING

from equitensor.lazy import lazy

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from equitensor.verification.checks import CHECKS as CHECKS
    from equitensor.verification.checks import verify as verify
    from equitensor.verification.report import Report as Report

_LAZY = {
    "CHECKS": "equitensor.verification.checks",
    "Report": "equitensor.verification.report",
    "verify": "equitensor.verification.checks",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)

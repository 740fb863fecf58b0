"""Training: from a config and data to a trained potential and its errors."""

from typing import TYPE_CHECKING

from equitensor.lazy import lazy

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from equitensor.training.config import Config as Config
    from equitensor.training.config import load_config as load_config
    from equitensor.training.evaluation import Evaluation as Evaluation
    from equitensor.training.evaluation import evaluate as evaluate
    from equitensor.training.fit import check as check
    from equitensor.training.fit import fit as fit

_LAZY = {
    "Config": "equitensor.training.config",
    "Evaluation": "equitensor.training.evaluation",
    "check": "equitensor.training.fit",
    "evaluate": "equitensor.training.evaluation",
    "fit": "equitensor.training.fit",
    "load_config": "equitensor.training.config",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)

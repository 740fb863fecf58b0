"""Epochs, optimisers, ranks: from a config and snapshots to a trained potential and its errors."""

from equitensor.lazy import lazy

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

"""Epochs, optimisers, ranks: from a config and snapshots to a trained potential and its errors."""

from equitensor.training.config import Config, load_config
from equitensor.training.evaluation import Evaluation, evaluate
from equitensor.training.fit import check, fit

__all__ = ["Config", "Evaluation", "check", "evaluate", "fit", "load_config"]

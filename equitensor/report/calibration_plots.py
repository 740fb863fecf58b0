"""Error bars beside errors: points that show their structures, and how many errors lie within how many deviations."""

from statistics import NormalDist

import numpy as np

from equitensor.graph.labels import ENERGY, FORCES, Label
from equitensor.models.error_bars import NORMAL_90
from equitensor.report.points import Places, points
from equitensor.training.compared import compared, counted
from equitensor.training.evaluation import Evaluation

_LEVELS = np.linspace(0.05, 0.95, 19)


def calibration_plots(evaluation: Evaluation, places: Places, most: int) -> list[dict]:
    """Of energies and of forces, those for which there are labels."""
    plots: list[dict] = []
    bars = [] if evaluation.calibration is None else evaluation.calibration.predicted
    for label, name in ((ENERGY, "energy_std"), (FORCES, "forces_std")):
        all_rows = (_rows(evaluation, predicted, k, label, name) for k, predicted in enumerate(bars))
        rows = [row for row in all_rows if row is not None]
        stds, errors, structure, atom = np.concatenate(rows, axis=1) if rows else np.zeros((4, 0))
        if len(stds):
            known = (stds > 0) & (errors > 0)  # the picture has logarithmic axes
            x, y = 1000 * stds[known], 1000 * errors[known]
            shown = points(x, y, structure[known], atom[known], places, most, rank=y)
            levels = {"expected": _LEVELS.round(2).tolist(), "observed": _observed(stds, errors)}
            plots.append({"title": label.name, "unit": f"m{label.unit}", "points": shown, "ninety": NORMAL_90} | levels)
    return plots


def _observed(stds: np.ndarray, errors: np.ndarray) -> list[float]:
    """Shares of errors within the central interval of a normal distribution that should hold so many."""
    within = [NormalDist().inv_cdf((1 + level) / 2) for level in _LEVELS]
    return [round(float(np.mean(errors <= z * stds)), 4) for z in within]


def _rows(evaluation: Evaluation, predicted: dict, k: int, label: Label, name: str) -> np.ndarray | None:
    """(4, components) of a structure: standard deviation, |error|, structure, atom."""
    truth = evaluation.labels[k]
    pair = compared(label, truth, evaluation.predictions[k])
    if pair is None:
        return None
    errors = np.abs(pair[0] - pair[1]).reshape(len(pair[0]), -1)
    stds, atoms = np.asarray(predicted[name]).reshape(-1), np.full(len(errors), -1)
    if label.per_atom:
        known = counted(label, truth, np.asarray(getattr(truth, label.name)))
        stds, atoms = stds[known], np.flatnonzero(known)
    sides = (stds[:, None], errors, k, atoms[:, None])
    return np.stack([np.broadcast_to(side, errors.shape).ravel().astype(np.float64) for side in sides])

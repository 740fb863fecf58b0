"""Numbers by which fields judge models beside mean errors: those of OC20's tasks (Chanussot et al. 2021).

A score is a mean over structures or over atoms, of a number that each of them has. Atoms held in place do not count.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES
from equitensor.training.compared import compared

_ENERGY_WITHIN, _FORCES_WITHIN = 0.02, 0.03  # eV, eV/Angstrom
_TINY = 1e-12


@dataclass(frozen=True)
class Score:
    """name: its key in JSON; title: its heading; of(label, prediction): (rows,) values, None without labels;
    per_atom: whether rows are atoms whose forces are compared, or the structure; show: the mean in tables."""

    name: str
    title: str
    of: Callable[[Structure, Structure], np.ndarray | None]
    per_atom: bool = False
    show: Callable[[float], str] = "{:.4f}".format


def _cosine(label: Structure, prediction: Structure) -> np.ndarray | None:
    """Of the angle between predicted and true force, 0 where one of them is zero."""
    pair = compared(FORCES, label, prediction)
    if pair is None:
        return None
    lengths = np.linalg.norm(pair[0], axis=1) * np.linalg.norm(pair[1], axis=1)
    return (pair[0] * pair[1]).sum(axis=1) / np.maximum(lengths, _TINY)


def _energy_within(label: Structure, prediction: Structure) -> np.ndarray | None:
    pair = compared(ENERGY, label, prediction)
    return None if pair is None else (np.abs(pair[0] - pair[1]) < _ENERGY_WITHIN).astype(np.float64)


def _both_within(label: Structure, prediction: Structure) -> np.ndarray | None:
    energy, forces = _energy_within(label, prediction), compared(FORCES, label, prediction)
    if energy is None or forces is None or not len(forces[0]):
        return None
    return energy * float(np.abs(forces[0] - forces[1]).max() < _FORCES_WITHIN)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


SCORES = (
    Score("forces_cosine", "cosine", _cosine, per_atom=True),
    Score("efwt", "EFwT %", _both_within, show=_percent),
    Score("ewt", "EwT %", _energy_within, show=_percent),
)


def scores_of(label: Structure, prediction: Structure) -> dict[str, np.ndarray]:
    """score -> the number of each row, of all scores whose labels are there."""
    scores = {score.name: score.of(label, prediction) for score in SCORES}
    return {name: rows for name, rows in scores.items() if rows is not None}

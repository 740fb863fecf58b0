"""Labels beside predictions as flat arrays, with the structure and the atom that each number belongs to."""

from dataclasses import dataclass

import numpy as np

from equitensor.graph.labels import Label, labels
from equitensor.training.compared import counted, shown, title
from equitensor.training.evaluation import Evaluation


@dataclass(frozen=True)
class Comparison:
    """One label, in the quantity that pictures show. All arrays are (m,), a component each: reference and predicted;
    structure, its place in the evaluation; atom, its place in the structure, -1 for a label of the structure.
    title: of the quantity, which of energies is that less the E0s, so that compositions lie side by side."""

    label: Label
    title: str
    reference: np.ndarray
    predicted: np.ndarray
    structure: np.ndarray
    atom: np.ndarray

    @property
    def error(self) -> np.ndarray:
        return self.predicted - self.reference

    def rms(self, n: int) -> np.ndarray:
        """(n,) of each structure, nan where it has no label."""
        count = np.bincount(self.structure, minlength=n)
        square = np.bincount(self.structure, np.square(self.error), minlength=n)
        return np.sqrt(np.where(count > 0, square, np.nan) / np.maximum(count, 1))

    def largest(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(n,) largest |error| of each structure, nan where it has no label, and the atom that it is on."""
        size, atom = np.full(n, np.nan), np.full(n, -1)
        order = np.argsort(np.abs(self.error), kind="stable")  # of equal places the last one written stays
        size[self.structure[order]] = np.abs(self.error)[order]
        atom[self.structure[order]] = self.atom[order]
        return size, atom


def comparisons(evaluation: Evaluation, e0s: dict[int, float]) -> list[Comparison]:
    """Of every label that is there and predicted; e0s: of the model."""
    compared = []
    for label in labels():
        pairs = enumerate(zip(evaluation.labels, evaluation.predictions, strict=True))
        all_rows = (_rows(label, k, truth, prediction, e0s) for k, (truth, prediction) in pairs)
        rows = [row for row in all_rows if row is not None and row.shape[1]]
        if rows:
            reference, predicted, structure, atom = np.concatenate(rows, axis=1)
            compared.append(
                Comparison(label, title(label, e0s), reference, predicted, structure.astype(int), atom.astype(int))
            )
    return compared


def _rows(label: Label, k: int, truth, prediction, e0s) -> np.ndarray | None:
    """(4, components): reference, predicted, structure, atom."""
    pair = shown(label, truth, prediction, e0s)
    if pair is None:
        return None
    predicted, reference = (np.asarray(side, np.float64).reshape(len(side), -1) for side in pair)
    if label.per_atom:
        atoms = np.flatnonzero(counted(label, truth, np.asarray(getattr(truth, label.name))))
    else:
        atoms = np.full(len(reference), -1)
    around = np.full(reference.shape, k), np.broadcast_to(atoms[:, None], reference.shape)
    return np.stack([side.ravel() for side in (reference, predicted, *around)])

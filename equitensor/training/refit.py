"""E0s for a model that is trained already: out of what the energies of other data are beyond its prediction."""

from dataclasses import dataclass

import numpy as np

from equitensor.data import GraphDataset, Snapshots, graph_loader
from equitensor.data.absurd_labels import Usual, absurd_energies
from equitensor.data.least_squares import ridge, undetermined
from equitensor.data.sequence import evenly_spaced
from equitensor.graph.labels import ENERGY
from equitensor.models import Potential
from equitensor.training.subtraction import D3Table

_SAMPLE = 2000  # structures
_AGREE = 0.1  # of what new structures have left over: so little is left of those that a model was trained on


@dataclass(frozen=True)
class LeftOver:
    """Of m structures: atoms by element of the model (m, elements), energy beyond its prediction (m,) in eV, weight,
    index in the data."""

    counts: np.ndarray
    energies: np.ndarray
    weights: np.ndarray
    index: np.ndarray

    @property
    def per_atom(self) -> float:
        """The weighted median, eV per atom: a few structures that the model is far from would move a mean."""
        left = self.energies / self.counts.sum(axis=1)
        order = np.argsort(left)
        below = np.cumsum(self.weights[order])
        middle = [np.searchsorted(below, below[-1] / 2, side) for side in ("left", "right")]  # two where they are even
        return float(left[order][middle].mean())

    def apart(self, e0s: np.ndarray, replayed_from: int) -> float:
        """How far (eV per atom) energies of new structures are from a prediction with these changes of the E0s that
        those of replayed ones, from that index on, agree with; 0 where there is no such thing.

        Elements with a NaN among the changes are new to the model: structures with any of them say nothing.
        """
        known = ~(self.counts[:, np.isnan(e0s)] > 0).any(axis=1)
        left = np.abs(self.energies - self.counts @ np.nan_to_num(e0s)) / self.counts.sum(axis=1)
        old, new = left[known & (self.index >= replayed_from)], left[known & (self.index < replayed_from)]
        if len(old) == 0 or len(new) == 0 or np.median(old) > _AGREE * np.median(new):
            return 0.0
        return float(np.median(new))

    def fitted(self, columns: list[int]) -> tuple[np.ndarray, int, list[int]]:
        """What to add to the E0s of these elements (eV): least squares, pulled to one and the same for all (`ridge`).

        Also the number of structures that hold any of them, and the positions of those which these leave open. What is
        absurdly far from a first fit does not take part in the second.
        """
        counts = self.counts[:, columns]
        rows = counts.sum(axis=1) > 0
        if not rows.any():
            return np.zeros(len(columns)), 0, []
        solution = ridge(counts[rows], self.energies[rows], self.weights[rows])
        left = (self.energies[rows] - counts[rows] @ solution) / counts[rows].sum(axis=1)
        absurd = absurd_energies(left, Usual.of(left))
        if absurd.any():
            rows[np.flatnonzero(rows)[absurd]] = False
            solution = ridge(counts[rows], self.energies[rows], self.weights[rows])
        return solution, int(rows.sum()), _open(counts[rows])


def left_over(model: Potential, snapshots: Snapshots, indices: np.ndarray, d3: D3Table | None = None) -> LeftOver:
    """Over up to 2000 of the structures with an energy and a weight above 0, evenly spaced; d3 is taken off."""
    chosen = evenly_spaced(indices[snapshots.index.has(ENERGY)[indices]], _SAMPLE)
    column = {z: i for i, z in enumerate(model.elements)}
    counts, energies, weights, index = [], [], [], []
    model.eval()
    for graph in graph_loader(GraphDataset(snapshots, chosen, model.cutoff, cache=False), batch_size=8):
        predicted = model(graph, forces=False, stress=False)[ENERGY.key].tolist()
        for i, energy in zip(graph.index.tolist(), predicted, strict=True):
            structure = snapshots[i]
            if structure.weight > 0:
                counts.append(np.bincount([column[z] for z in structure.z.tolist()], minlength=len(column)))
                energies.append(structure.energy - energy - (0.0 if d3 is None else d3.at(i).energy))
                weights.append(structure.weight)
                index.append(i)
    model.train()
    shape = (len(counts), len(column))
    table = np.array(counts, dtype=np.float64).reshape(shape)
    return LeftOver(table, np.array(energies), np.array(weights), np.array(index, dtype=np.int64))


def _open(counts: np.ndarray) -> list[int]:
    _, open_ones = undetermined(counts)
    return np.flatnonzero(open_ones).tolist()

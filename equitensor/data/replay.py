"""Replay: a share of the data that a model was trained on before, so that it does not forget them."""

from dataclasses import replace

import numpy as np

from equitensor.data.sequence import Snapshots, Weighted
from equitensor.data.splits import usable

_PER_STRUCTURE = ("atoms", "flags", "group", "composition", "energy")


class Chosen(Snapshots):
    """Some structures of a data set, by their indices."""

    def __init__(self, part: Snapshots, indices: np.ndarray) -> None:
        self.part, self.indices = part, indices
        self.name, self.provenance, self.created = part.name, part.provenance, getattr(part, "created", "")
        arrays = {name: getattr(part.index, name) for name in _PER_STRUCTURE}
        arrays = {name: None if array is None else array[indices] for name, array in arrays.items()}
        self.index = replace(part.index, **arrays)

    def __reduce__(self):
        return Chosen, (self.part, self.indices)  # stores are opened again, not copied

    def read(self, i):
        return self.part[int(self.indices[i])]


def replay(old: Snapshots, share: float, new: int, seed: int) -> Snapshots:
    """Structures drawn from `old` that make up `share` of an epoch beside `new` others; the same for the same seed.

    Where there are too few, each weighs more than one in the loss, so that the share is that of the weights.
    """
    wanted = share / (1 - share) * new
    indices = usable(old)
    chosen = np.random.default_rng(seed).permutation(indices)[: max(1, round(wanted))]
    return Weighted(Chosen(old, np.sort(chosen)), wanted / len(chosen))

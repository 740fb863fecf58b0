"""Replay: a share of the data that a model was trained on before, so that it does not forget them."""

from dataclasses import fields

import numpy as np

from equitensor.data.index import Index
from equitensor.data.sequence import Snapshots, Weighted
from equitensor.data.splits import usable
from equitensor.errors import InputError
from equitensor.graph.labels import ENERGY, get_label, labels

_PER_STRUCTURE = ("atoms", "flags", "group", "composition", ENERGY.name)


class Chosen(Snapshots):
    """Some structures of a data set, by their indices, without the labels that are to be left out, by their names."""

    def __init__(self, part: Snapshots, indices: np.ndarray, without: tuple[str, ...] = ()) -> None:
        self.part, self.indices, self.without = part, indices, without
        self.name, self.provenance, self.created = part.name, part.provenance, getattr(part, "created", "")
        arrays = {name: getattr(part.index, name) for name in _PER_STRUCTURE}
        arrays = {name: None if array is None else array[indices] for name, array in arrays.items()}
        bits = sum(get_label(name).bit for name in without)
        arrays["flags"] = arrays["flags"] & ~np.uint8(bits)
        if ENERGY.name in without and arrays[ENERGY.name] is not None:
            arrays[ENERGY.name] = np.full(len(indices), np.nan)
        whole = {field.name: getattr(part.index, field.name) for field in fields(Index)}
        self.index = Index(**whole | arrays)

    def __reduce__(self):
        return Chosen, (self.part, self.indices, self.without)  # stores are opened again, not copied

    def read(self, i):
        return self.part[int(self.indices[i])].replace(**dict.fromkeys(self.without))


def replay(
    old: Snapshots, share: float, new: int, seed: int, kept: list[str] | None = None, weight: float = 1.0
) -> Snapshots:
    """Structures drawn from `old` that make up `share` of an epoch beside `new` others; the same for the same seed.

    weight: that of the new ones in the loss, on average. It is what the drawn ones weigh too; where there are too few,
    each weighs more, so that the share is that of the weights. kept: names of the labels to learn from, all by default.
    Raises InputError for one that does not exist.
    """
    wanted = share / (1 - share) * new
    names = [label.name for label in labels()]
    if unknown := sorted(set(kept or ()) - set(names)):
        raise InputError(f"data.replay.labels: {', '.join(unknown)} is no label, which are {', '.join(names)}")
    without = () if kept is None else tuple(name for name in names if name not in kept)
    indices = usable(Chosen(old, np.arange(len(old)), without))
    chosen = np.random.default_rng(seed).permutation(indices)[: max(1, round(wanted))]
    return Weighted(Chosen(old, np.sort(chosen), without), weight * wanted / len(chosen))

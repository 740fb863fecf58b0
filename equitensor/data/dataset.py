"""From snapshots to graphs: the data set that a DataLoader reads."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import DataLoader, Dataset

from equitensor.data.sequence import Snapshots
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure

_CACHED_ATOMS = 100_000  # about 0.3 GB of graphs at 40 neighbours an atom


class GraphDataset(Dataset):
    """The AtomicGraphs of `snapshots[indices]` with edges up to `cutoff` (Angstrom), built on access.

    cache: keep graphs in memory (in each worker that builds them); the default is True up to 100 000 atoms in total.
    `index` of a graph is its index in `snapshots`. left(index, structure), if given, returns the structure with the
    labels to learn. Raises InputError, naming the record, if a graph cannot be built.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        indices: ArrayLike | None = None,
        cutoff: float = 5.0,
        cache: bool | None = None,
        left: Callable[[int, Structure], Structure] | None = None,
    ) -> None:
        self.snapshots, self.cutoff, self.left = snapshots, float(cutoff), left
        self.indices = np.arange(len(snapshots)) if indices is None else np.asarray(indices, dtype=np.int64)
        self.num_atoms = snapshots.index.atoms[self.indices]
        if cache is None:
            cache = int(self.num_atoms.sum()) <= _CACHED_ATOMS
        self._cache: dict[int, AtomicGraph] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def keeps_graphs(self) -> bool:
        """Whether graphs are kept in memory."""
        return self._cache is not None

    def __getitem__(self, i: int) -> AtomicGraph:
        if self._cache is not None and i in self._cache:
            return self._cache[i]
        graph = self._build(int(self.indices[i]))
        if self._cache is not None:
            self._cache[i] = graph
        return graph

    def __getstate__(self):
        return {**self.__dict__, "_cache": None if self._cache is None else {}}

    def _build(self, index):
        try:
            structure = self.snapshots[index]
            structure = structure if self.left is None else self.left(index, structure)
            return AtomicGraph.from_structure(structure, self.cutoff, index=index)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(str(error)) from None


def graph_loader(dataset: GraphDataset, batch_size: int = 1, **options: Any) -> DataLoader:
    """A DataLoader of batched AtomicGraphs; options (shuffle, num_workers, collate_fn, ...) are those of torch."""
    return DataLoader(dataset, batch_size=batch_size, **{"collate_fn": AtomicGraph.collate, **options})

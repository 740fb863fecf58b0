"""Snapshots: a sequence of structures with a small index that answers questions without reading them all."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np

from equitensor.data.index import Index, IndexBuilder, row_of
from equitensor.graph import Structure


def evenly_spaced(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the values, evenly spaced."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(int)]


class Snapshots(Sequence[Structure], ABC):
    """A sequence of Structure (`len`, `[i]`, iteration) with an `index`, `elements`, `name`, `provenance`."""

    name: str
    index: Index  # type: ignore[assignment]  # not the method of a Sequence
    provenance: dict

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers in ascending order."""
        return self.index.elements

    def __len__(self) -> int:
        return len(self.index)

    @overload
    def __getitem__(self, i: int) -> Structure: ...

    @overload
    def __getitem__(self, i: slice) -> list[Structure]: ...

    def __getitem__(self, i: int | slice) -> Structure | list[Structure]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} structures, no number {i}")
        return self.read(i % len(self))

    @abstractmethod
    def read(self, i: int) -> Structure:
        """The structure with index i, 0 <= i < len(self)."""


class Memory(Snapshots):
    """Snapshots in memory, from any iterable of structures."""

    def __init__(
        self, structures: Iterable[Structure], name: str = "structures", provenance: dict | None = None
    ) -> None:
        builder, self._structures = IndexBuilder(), []
        for structure in structures:
            builder.add(row_of(structure))
            self._structures.append(structure)
        self.name, self.index, self.provenance = name, builder.build(), provenance or {}

    def read(self, i: int) -> Structure:
        return self._structures[i]


class Joined(Snapshots):
    """Several data sets, one after the other."""

    def __init__(self, parts: list[Snapshots]) -> None:
        self.parts = parts
        self.name = ", ".join(part.name for part in parts)
        self.index = Index.join([part.index for part in parts])
        self.provenance = {"parts": [part.provenance for part in parts]}
        self._ends = np.cumsum([len(part) for part in parts])

    def __reduce__(self):
        return Joined, (self.parts,)  # stores are opened again, not copied

    def read(self, i: int) -> Structure:
        part = int(np.searchsorted(self._ends, i, side="right"))
        return self.parts[part].read(i - int(self._ends[part]) + len(self.parts[part]))


class Weighted(Snapshots):
    """A data set whose structures weigh `weight` times what they say in the loss."""

    def __init__(self, part: Snapshots, weight: float) -> None:
        self.part, self.weight = part, float(weight)
        self.name, self.index, self.provenance = part.name, part.index, part.provenance
        self.created = getattr(part, "created", "")

    def __reduce__(self):
        return Weighted, (self.part, self.weight)

    def read(self, i: int) -> Structure:
        structure = self.part.read(i)
        return structure.replace(weight=self.weight * structure.weight)

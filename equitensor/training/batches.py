"""How much a batch may hold: structures, edges, or both; and what it holds where nothing is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch, which an evaluation by the core does without
    from equitensor.graph import AtomicGraph

_STRUCTURES = 10.4  # of average size a batch; ten whose edges differ a little fit
_EDGES = 4500


@dataclass(frozen=True)
class BatchLimits:
    """At most so many structures and so many edges a batch; None: no limit. A structure that has more edges is alone.

    Each atom counts as one edge at least, so that atoms out of reach of all others fill a batch too.
    """

    structures: int | None = None
    edges: int | None = None

    def fit(self, structures: int, edges: int) -> bool:
        """Whether a batch of so many structures and edges is within the limits."""
        return (self.structures is None or structures <= self.structures) and (
            self.edges is None or edges <= self.edges or structures == 1
        )

    def parts(self, graphs: Iterable[AtomicGraph]) -> Iterator[list[AtomicGraph]]:
        """Graphs, in their order, in as few parts within the limits as that order allows."""
        part, edges = [], 0
        for graph in graphs:
            if part and not self.fit(len(part) + 1, edges + size(graph)):
                yield part
                part, edges = [], 0
            part.append(graph)
            edges += size(graph)
        if part:
            yield part


def size(graph: AtomicGraph) -> int:
    """What a structure counts for: its edges, at least one for each atom."""
    return max(graph.num_edges, graph.num_nodes)


def default_limits(sizes: np.ndarray) -> BatchLimits:
    """Edges for ten structures of average size, at most 4500: ten molecules, two cells of 50 atoms, one of 100.

    In a given time many small steps learn more than a few large ones: of 80 to 190 atoms, one structure a step gives a
    fifth to a tenth of the force error that ten do.
    """
    return BatchLimits(edges=max(1, round(min(_STRUCTURES * float(np.mean(sizes)), _EDGES))))

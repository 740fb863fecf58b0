"""What an atomic structure is: snapshots, neighbour lists, batched graphs (which alone need torch)."""

from equitensor.lazy import lazy

_LAZY = {
    "AtomicGraph": "equitensor.graph.atomic_graph",
    "Structure": "equitensor.graph.structure",
    "check_geometry": "equitensor.graph.geometry",
    "from_ase": "equitensor.graph.atomic_graph",
    "neighbor_list": "equitensor.graph.neighbors",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)

"""Atomic structures: structures with labels, neighbour lists, and batched graphs (only these need torch)."""

from typing import TYPE_CHECKING

from equitensor.lazy import lazy

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from equitensor.graph.atomic_graph import AtomicGraph as AtomicGraph
    from equitensor.graph.atomic_graph import from_ase as from_ase
    from equitensor.graph.geometry import check_geometry as check_geometry
    from equitensor.graph.neighbors import neighbor_list as neighbor_list
    from equitensor.graph.structure import Structure as Structure

_LAZY = {
    "AtomicGraph": "equitensor.graph.atomic_graph",
    "Structure": "equitensor.graph.structure",
    "check_geometry": "equitensor.graph.geometry",
    "from_ase": "equitensor.graph.atomic_graph",
    "neighbor_list": "equitensor.graph.neighbors",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)

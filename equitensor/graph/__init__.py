"""What an atomic structure is: snapshots, neighbour lists, batched graphs."""

from equitensor.graph.atomic_graph import AtomicGraph, from_ase
from equitensor.graph.geometry import check_geometry
from equitensor.graph.neighbors import neighbor_list
from equitensor.graph.structure import Structure

__all__ = ["AtomicGraph", "Structure", "check_geometry", "from_ase", "neighbor_list"]

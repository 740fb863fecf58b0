"""Files and formats: from what people have to snapshots, stores and graphs."""

from equitensor.data.convert import convert
from equitensor.data.coverage import Coverage, coverage, coverage_table
from equitensor.data.dataset import GraphDataset, graph_loader
from equitensor.data.e0s import E0s, resolve_e0s
from equitensor.data.sequence import Memory, Snapshots
from equitensor.data.snapshots import open_snapshots
from equitensor.data.splits import Split, split_by_group, split_notes, usable
from equitensor.data.store import Store, StoreWriter

__all__ = [
    "Coverage",
    "E0s",
    "GraphDataset",
    "Memory",
    "Snapshots",
    "Split",
    "Store",
    "StoreWriter",
    "convert",
    "coverage",
    "coverage_table",
    "graph_loader",
    "open_snapshots",
    "resolve_e0s",
    "split_by_group",
    "split_notes",
    "usable",
]

"""Files and formats: from what people have to snapshots, stores and graphs (which alone need torch)."""

from equitensor.data.convert import convert
from equitensor.data.coverage import Coverage, coverage, coverage_table
from equitensor.data.e0s import E0s, resolve_e0s
from equitensor.data.sequence import Memory, Snapshots
from equitensor.data.snapshots import open_snapshots
from equitensor.data.splits import Split, split_by_group, split_notes, usable
from equitensor.data.store import Store, StoreWriter
from equitensor.lazy import lazy

_LAZY = {"GraphDataset": "equitensor.data.dataset", "graph_loader": "equitensor.data.dataset"}
__getattr__, __dir__ = lazy(__name__, _LAZY)

__all__ = [
    *_LAZY,
    "Coverage",
    "E0s",
    "Memory",
    "Snapshots",
    "Split",
    "Store",
    "StoreWriter",
    "convert",
    "coverage",
    "coverage_table",
    "open_snapshots",
    "resolve_e0s",
    "split_by_group",
    "split_notes",
    "usable",
]

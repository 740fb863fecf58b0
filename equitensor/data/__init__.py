"""Files and formats: from what people have to snapshots, stores and graphs (which alone need torch)."""

from equitensor.lazy import lazy

_LAZY = {
    "Coverage": "equitensor.data.coverage",
    "E0s": "equitensor.data.e0s",
    "GraphDataset": "equitensor.data.dataset",
    "Memory": "equitensor.data.sequence",
    "Snapshots": "equitensor.data.sequence",
    "Split": "equitensor.data.splits",
    "Store": "equitensor.data.store",
    "StoreWriter": "equitensor.data.store_writer",
    "convert": "equitensor.data.convert",
    "coverage": "equitensor.data.coverage",
    "coverage_table": "equitensor.data.coverage",
    "graph_loader": "equitensor.data.dataset",
    "open_snapshots": "equitensor.data.snapshots",
    "resolve_e0s": "equitensor.data.e0s",
    "split_by_group": "equitensor.data.splits",
    "split_notes": "equitensor.data.splits",
    "usable": "equitensor.data.splits",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)

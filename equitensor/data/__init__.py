"""Data: file formats, snapshots, stores, splits, E0s, and data sets of graphs (only these need torch)."""

from typing import TYPE_CHECKING

from equitensor.lazy import lazy

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from equitensor.data.convert import convert as convert
    from equitensor.data.coverage import Coverage as Coverage
    from equitensor.data.coverage import coverage as coverage
    from equitensor.data.coverage import coverage_table as coverage_table
    from equitensor.data.dataset import GraphDataset as GraphDataset
    from equitensor.data.dataset import graph_loader as graph_loader
    from equitensor.data.e0s import E0s as E0s
    from equitensor.data.e0s import resolve_e0s as resolve_e0s
    from equitensor.data.sequence import Memory as Memory
    from equitensor.data.sequence import Snapshots as Snapshots
    from equitensor.data.snapshots import open_snapshots as open_snapshots
    from equitensor.data.splits import Split as Split
    from equitensor.data.splits import split_by_group as split_by_group
    from equitensor.data.splits import split_notes as split_notes
    from equitensor.data.splits import usable as usable
    from equitensor.data.store import Store as Store
    from equitensor.data.store_writer import StoreWriter as StoreWriter

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

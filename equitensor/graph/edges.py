"""The order of edges that models rely on: sorted by receiver, and every edge knows its reverse."""

import numpy as np
import torch
from torch import Tensor

from equitensor.errors import InputError


def sort_edges(edge_index, shift, num_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """edge_index (2, e), shift (e, 3) and rev (e,) int64, sorted by receiver, sender, shift, of edges in any order.

    Args: edge_index (2, e), row 0 senders, row 1 receivers; shift (e, 3) whole cells, or None where all are zero.
    Raises InputError for atoms that do not exist, edges listed twice, edges without their reverse, and an atom that
    is its own neighbour.
    """
    edge_index = _whole(edge_index, "edge_index")
    if edge_index.ndim != 2 or len(edge_index) != 2:
        raise InputError(f"edge_index is {edge_index.shape}: give (2, e), row 0 senders, row 1 receivers")
    edges = edge_index.shape[1]
    shift = np.zeros((edges, 3), np.int64) if shift is None else _whole(shift, "shift")
    if shift.shape != (edges, 3):
        raise InputError(f"shift is {shift.shape}: give ({edges}, 3), whole cells, one row per edge")
    if edges and not (edge_index.min() >= 0 and edge_index.max() < num_nodes):
        raise InputError(f"edge_index names atoms {edge_index.min()} to {edge_index.max()}: there are {num_nodes}")
    sender, receiver = edge_index
    forth = np.lexsort((*shift.T, sender, receiver))
    back = np.lexsort((*(-shift).T, receiver, sender))
    rows = np.column_stack([receiver, sender, shift])
    _check_pairs(rows[forth], np.column_stack([sender, receiver, -shift])[back])
    rev = np.empty(edges, np.int64)
    rev[np.argsort(forth)[back]] = np.arange(edges)
    edge_index, shift = np.ascontiguousarray(edge_index[:, forth]), np.ascontiguousarray(shift[forth])
    return torch.from_numpy(edge_index), torch.from_numpy(shift), torch.from_numpy(rev)


def check_order(edge_index: Tensor, shift: Tensor, rev: Tensor) -> None:
    """Raise InputError where edges are not sorted by receiver, or where rev does not name the reverse of each."""
    receiver = edge_index[1]
    if bool((receiver[1:] < receiver[:-1]).any()):
        raise InputError(
            "the edges are not sorted by receiver: make the graph with AtomicGraph.from_edges, which sorts"
        )
    fits = rev.shape == receiver.shape and not (len(rev) and bool(((rev < 0) | (rev >= len(rev))).any()))
    if not fits or not edge_index[:, rev].equal(edge_index.flip(0)) or not shift[rev].equal(-shift):
        raise InputError(
            "rev does not name the reverse of every edge (sender and receiver exchanged, shift negated): "
            "make the graph with AtomicGraph.from_edges, which finds it"
        )


def _whole(values, name: str) -> np.ndarray:
    """The values as int64; InputError where one of them is no whole number."""
    values = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        raise InputError(f"{name} holds values that are not whole numbers")
    return whole


def _check_pairs(forth: np.ndarray, back: np.ndarray) -> None:
    """Rows (receiver, sender, shift) of all edges, sorted, and of their reverses, sorted, must be the same rows."""
    twice = (forth[1:] == forth[:-1]).all(axis=1)
    if twice.any():
        raise InputError(f"{_edge(forth[int(np.argmax(twice))])} is listed twice")
    itself = (forth[:, 0] == forth[:, 1]) & ~forth[:, 2:].any(axis=1)
    if itself.any():
        raise InputError(f"{_edge(forth[int(np.argmax(itself))])} joins an atom to itself: leave it out")
    if not np.array_equal(forth, back):
        reverses = set(map(tuple, back.tolist()))
        alone = next(row for row in forth.tolist() if tuple(row) not in reverses)
        raise InputError(f"{_edge(alone)} has no reverse: give a full list, each pair in both directions")


def _edge(row) -> str:
    receiver, sender, *shift = (int(value) for value in row)
    return f"the edge from atom {sender} to atom {receiver} with shift {shift}"

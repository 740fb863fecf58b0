"""Neighbour lists: every pair of atoms, over all periodic images, nearer than a cutoff."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from equitensor.graph.geometry import check_cell_and_extent, full_cell
from equitensor.graph.torchless import import_without_torch

_GRID = 50_000  # bins as wide as the cutoff; vesin makes 100 000 at most, and dies where one side would need more


def neighbor_list(
    pos: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All directed edges shorter than `cutoff`, sorted by receiver, then sender, then cell shift.

    edge_vec = pos[receiver] - pos[sender] + shift @ cell.

    Args: pos (n, 3), cell (3, 3), pbc (3,) bool, cutoff in Angstrom.

    Returns: edge_index (2, e) int64, rows sender and receiver; shift (e, 3) int64; rev (e,) int64, the index of the
    reverse of each edge (receiver and sender exchanged, shift negated).

    Raises InputError (a ValueError) for positions and cells that `check_cell_and_extent` refuses.
    """
    pos, pbc = np.ascontiguousarray(pos, dtype=np.float64), np.asarray(pbc, dtype=bool)
    check_cell_and_extent(pos, cell, pbc)
    if len(pos) == 0:
        return np.zeros((2, 0), np.int64), np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    box = _box(pos, cell, pbc, cutoff)
    search = _by_tree if _is_sparse(pos, box, cutoff) else _by_grid
    sender, receiver, shift = search(pos, box, pbc, float(cutoff))
    order, rev = _order(sender, receiver, shift, len(pos))
    return np.stack([sender[order], receiver[order]]), shift[order], rev


def _order(sender, receiver, shift, count):
    """What sorts edges by receiver, sender and shift, and for each of them, sorted, the position of its reverse."""
    forth, back = _keys(sender, receiver, shift, count)
    order = _sorted(forth)
    rev = np.empty_like(order)
    rev[_sorted([key[order] for key in back])] = np.arange(len(order))
    return order, rev


def _keys(sender, receiver, shift, count):
    """By what edges are sorted, and by what their reverses are, the most important key last.

    As far as 64 bits hold them, receiver, sender and shift are the digits of one number, which is sorted in a sixth of
    the time; that of the reverse has the first two exchanged and the last negated.
    """
    a, b, c = (2 * int(np.abs(axis).max(initial=0)) + 1 for axis in shift.T)
    shifts = a * b * c
    if count * count * shifts >= 2**63:
        return [*shift.T, sender, receiver], [*(-shift).T, receiver, sender]
    x, y, z = shift.T
    last = x + a * (y + b * z) if shifts > 1 else 0
    return [(receiver * count + sender) * shifts + last], [(sender * count + receiver) * shifts - last]


def _sorted(keys):
    return np.argsort(keys[0]) if len(keys) == 1 else np.lexsort(keys)


def _box(pos, cell, pbc, cutoff):
    """The cell, along directions without periodicity as long as the atoms reach and so much more that images of them
    are out of reach."""
    box = full_cell(cell, pbc)
    heights = pos @ box[~pbc].T
    box[~pbc] *= (np.ptp(heights, axis=0) + 2 * cutoff)[:, None]
    return box


def _is_sparse(pos, box, cutoff) -> bool:
    """Whether a grid over the box would have far more bins than atoms, or too long a side."""
    bins = np.maximum(1.0, _heights(box) / cutoff)
    total = bins.prod()
    return bool(total > _GRID and (total > 4 * len(pos) or bins.min() < 2 * (total / _GRID) ** (1 / 3)))


def _heights(box):
    """(3,) distances between opposite faces."""
    return 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)


@cache
def _vesin():
    """vesin, which imports torch where it is installed: half a second that a search in numpy has no use for."""
    return import_without_torch("vesin")


def _by_grid(pos, box, pbc, cutoff):
    """Sender, receiver, shift by vesin's cell list."""
    periodic = np.full(3, bool(pbc.any()))  # of slabs and wires vesin makes a grid that grows as the extent squared
    calculator = _vesin().NeighborList(cutoff=cutoff, full_list=True)
    edges = calculator.compute(points=pos, box=box, periodic=periodic, quantities="ijS")
    return tuple(array.astype(np.int64) for array in edges)


def _by_tree(pos, box, pbc, cutoff):
    """Sender, receiver, shift by a k-d tree over the atoms and their images near the cell: no grid, any extent."""
    from scipy.spatial import cKDTree  # slow to import, rarely needed

    inverse = np.linalg.inv(box)
    fractional = pos @ inverse
    cells = np.where(pbc, np.floor(fractional), 0.0).astype(np.int64)
    fractional = fractional - cells
    reach = cutoff / _heights(box) * (1 + 1e-9)
    atoms, shifts = np.arange(len(pos)), np.zeros((len(pos), 3), np.int64)
    for axis in np.flatnonzero(pbc):
        steps = np.arange(-np.ceil(reach[axis]), np.ceil(reach[axis]) + 1).astype(np.int64)
        moved = fractional[atoms, axis][:, None] + steps
        row, step = np.nonzero((moved >= -reach[axis]) & (moved < 1 + reach[axis]))
        atoms, shifts = atoms[row], shifts[row]
        shifts[:, axis] = steps[step]
    wrapped = pos - cells @ box
    images = cKDTree(wrapped[atoms] + shifts @ box)
    pairs = cKDTree(wrapped).sparse_distance_matrix(images, cutoff, output_type="ndarray")
    pairs = pairs[pairs["v"] < cutoff]
    sender, image = pairs["i"], pairs["j"]
    receiver, shift = atoms[image], shifts[image]
    itself = (sender == receiver) & ~shift.any(axis=1)
    shift = shift + cells[sender] - cells[receiver]
    return sender[~itself].astype(np.int64), receiver[~itself], shift[~itself]

"""Neighbour lists: every pair of atoms, over all periodic images, nearer than a cutoff."""

import numpy as np
import vesin


def neighbor_list(pos, cell, pbc, cutoff):
    """All directed edges shorter than `cutoff`, sorted by receiver, then sender, then cell shift.

    edge_vec = pos[receiver] - pos[sender] + shift @ cell.

    Args: pos (n, 3), cell (3, 3), pbc (3,) bool, cutoff in Angstrom.
    Returns: edge_index (2, e) int64, rows sender and receiver; shift (e, 3) int64; rev (e,) int64, the position of
    the same edge walked the other way (receiver and sender exchanged, shift negated).
    Raises ValueError for positions that are not finite, and for a periodic direction without a lattice vector.
    """
    if not np.isfinite(pos).all():
        raise ValueError(f"the position of atom {int(np.argwhere(~np.isfinite(pos))[0, 0])} is not finite")
    if any(p and not np.any(vector) for p, vector in zip(pbc, cell, strict=True)):
        raise ValueError("the structure is periodic along a direction for which its cell has no lattice vector")
    if len(pos) == 0:
        return np.zeros((2, 0), np.int64), np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    calculator = vesin.NeighborList(cutoff=float(cutoff), full_list=True)
    i, j, shift = calculator.compute(
        points=np.ascontiguousarray(pos, dtype=np.float64),
        box=_full_cell(cell, pbc),
        periodic=np.asarray(pbc, dtype=bool),
        quantities="ijS",
    )
    sender, receiver, shift = i.astype(np.int64), j.astype(np.int64), shift.astype(np.int64)
    order = np.lexsort((*shift.T, sender, receiver))
    sender, receiver, shift = sender[order], receiver[order], shift[order]
    rev = np.empty_like(order)
    rev[np.lexsort((*(-shift).T, receiver, sender))] = np.arange(len(order))
    return np.stack([sender, receiver]), shift, rev


def _full_cell(cell, pbc):
    """The cell with unit vectors, normal to the others, along non-periodic directions (where the shift is 0)."""
    cell = np.array(cell, dtype=np.float64)
    if not np.any(pbc):
        return np.eye(3)
    missing = [a for a in range(3) if not pbc[a]]
    if missing:
        _, _, normals = np.linalg.svd(cell[np.asarray(pbc)])
        cell[missing] = normals[3 - len(missing) :]
    return cell

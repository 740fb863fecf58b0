"""Neighbours of many structures as they move, side by side in one graph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, check_geometry, neighbor_list
from equitensor.graph.geometry import TOO_CLOSE
from equitensor.interfaces.graph_list import within_cutoff


@dataclass(frozen=True, eq=False)
class Batch:
    """b structures, n atoms in all, those of a structure next to each other: z (n,), pos (n, 3) and cell (b, 3, 3) in
    Angstrom and float64, rows of cell are lattice vectors, batch (n,) the structure of each atom, pbc (b, 3) bool."""

    z: Tensor
    pos: Tensor
    batch: Tensor
    cell: Tensor
    pbc: Tensor

    @property
    def num_graphs(self) -> int:
        return self.cell.shape[0]

    def sums(self, of_atoms: Tensor) -> Tensor:
        """(b, ...) sums over the atoms of each structure."""
        return of_atoms.new_zeros(self.num_graphs, *of_atoms.shape[1:]).index_add(0, self.batch, of_atoms)


class BatchedList:
    """A Verlet skin list for each of several structures: as `SkinList`, whose criterion it applies to all at once.

    Structures whose atoms have moved too far are searched anew, the others keep their edges. The search is on the CPU,
    all else on `device`. `wide` is the graph of the edges up to cutoff + skin (Angstrom), `translation` (3, e) their
    shift @ cell, `builds` how many structures were searched.
    """

    def __init__(self, cutoff: float, skin: float, device="cpu"):
        self.cutoff, self.skin, self.device = float(cutoff), float(skin), torch.device(device)
        self.builds = 0
        self._origin: Batch | None = None

    def graph(self, now: Batch) -> AtomicGraph:
        """The graph of these structures, edges up to the cutoff: that of a fresh search. Raises as `follow`."""
        self.follow(now)
        return within_cutoff(self.wide, now.pos, self.translation, self.cutoff)

    def follow(self, now: Batch) -> bool:
        """Make `wide` hold all pairs of these structures; whether its edges are others than before.

        Raises InputError, naming the structure, for cells and positions that no model can answer and for two atoms in
        one place.
        """
        stale, close = self._moved(now)
        for k in (k for k, suspect in enumerate(close) if suspect):
            _named(k, check_geometry, *_one(now, k)[1:])
        if any(stale):
            self._search(now, stale)
        if any(stale) or not now.cell.equal(self.wide.cell):
            self.wide = self.wide.replace(cell=now.cell, pbc=now.pbc)
            cell = now.cell.index_select(0, now.batch.index_select(0, self.wide.edge_index[1]))
            self.translation = torch.einsum("ea,eab->be", self.wide.shift.to(cell.dtype), cell).contiguous()
        return any(stale)

    def _moved(self, now: Batch) -> tuple[list[bool], list[bool]]:
        """Of each structure whether its list may lack a pair, and else whether two atoms may be in one place."""
        then = self._origin
        if then is None or not all(getattr(now, name).equal(getattr(then, name)) for name in ("z", "batch", "pbc")):
            _check_order(now)
            return [True] * now.num_graphs, [False] * now.num_graphs
        deformed = now.pbc.any(1) & (now.cell != then.cell).flatten(1).any(1)
        displaced, shrink = now.pos - then.pos, torch.ones_like(now.cell[:, 0, 0])
        if deformed.any():
            can = (deformed & now.pbc.all(1)).view(-1, 1, 1)
            unit = torch.eye(3).to(now.cell).expand_as(now.cell)
            deformation = torch.linalg.solve(then.cell.where(can, unit), now.cell.where(can, unit))
            moved = torch.einsum("na,nab->nb", then.pos, deformation.index_select(0, now.batch))
            displaced, shrink = now.pos - moved, torch.linalg.svdvals(deformation)[:, -1]
        drift = now.sums(displaced) / now.sums(torch.ones_like(displaced[:, :1]))
        lengths = (displaced - drift.index_select(0, now.batch)).norm(dim=1)
        largest = torch.zeros_like(shrink).scatter_reduce(0, now.batch, lengths, "amax")
        whole = self.cutoff + 2 * largest <= shrink * (self.cutoff + self.skin)  # false for NaN
        stale = ~whole | (deformed & ~now.pbc.all(1))
        close = ~stale & (shrink * self._shortest - 2 * largest < TOO_CLOSE)
        stale_list, close_list = torch.stack([stale, close]).tolist()
        return stale_list, close_list

    def _search(self, now: Batch, stale: list[bool]) -> None:
        then = None if all(stale) else self._origin
        parts: dict[int, AtomicGraph] = {} if then is None else dict(enumerate(self._parts))
        shortest = [0.0] * now.num_graphs if then is None else self._shortest.tolist()
        pos, cell = (now.pos.clone(), now.cell.clone()) if then is None else (then.pos, then.cell)
        self._origin = None  # until all is taken
        for k in (k for k, again in enumerate(stale) if again):
            parts[k], shortest[k] = _named(k, self._found, *_one(now, k))
            mine = now.batch == k
            pos = torch.where(mine[:, None], now.pos, pos)
            cell[k] = now.cell[k]
            self.builds += 1
        self._parts = [parts[k] for k in range(now.num_graphs)]
        self._shortest = torch.tensor(shortest, dtype=torch.float64, device=self.device)
        self.wide = AtomicGraph.collate(self._parts)
        self._origin = Batch(now.z.clone(), pos, now.batch.clone(), cell, now.pbc.clone())

    def _found(self, z, pos, cell, pbc) -> tuple[AtomicGraph, float]:
        """The edges of one structure, and the length of the shortest (Angstrom)."""
        edge_index, shift, rev = neighbor_list(pos, cell, pbc, self.cutoff + self.skin)
        tensor = torch.from_numpy
        part = AtomicGraph(
            z=tensor(z),
            pos=tensor(pos),
            batch=torch.zeros(len(z), dtype=torch.int64),
            edge_index=tensor(edge_index),
            shift=tensor(shift),
            rev=tensor(rev),
            cell=tensor(cell)[None],
            pbc=tensor(pbc)[None],
            ordered=True,
        )
        shortest = float(part.edge_vectors().norm(dim=1).min()) if part.num_edges else torch.inf
        if shortest < TOO_CLOSE:
            check_geometry(pos, cell, pbc)
        return part.to(self.device), shortest


def _check_order(now: Batch) -> None:
    """Raise InputError unless each structure has atoms, next to each other, in the order of the cells."""
    count = torch.bincount(now.batch, minlength=now.num_graphs)
    if len(count) > now.num_graphs:
        raise InputError(f"atoms belong to structure {len(count) - 1}, but there are {now.num_graphs} cells")
    if not len(count) or not count.all():
        raise InputError("there are no atoms" if not len(now.z) else f"structure {int(count.argmin())} has no atoms")
    if (now.batch[1:] < now.batch[:-1]).any():
        raise InputError("the atoms of a structure do not lie next to each other: sort them by structure")


def _one(now: Batch, k: int):
    """z, pos, cell, pbc of one structure, in numpy."""
    mine = now.batch == k
    tensors = (now.z[mine], now.pos[mine], now.cell[k], now.pbc[k])
    return tuple(tensor.cpu().numpy() for tensor in tensors)


def _named(k: int, function, *args):
    """function(*args), which names structure k where it raises an InputError."""
    try:
        return function(*args)
    except InputError as error:
        raise InputError(f"structure {k}: {error}") from None

"""One batched graph of atoms: what every model takes."""

from dataclasses import InitVar, dataclass, field, fields, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from equitensor.errors import InputError
from equitensor.graph.edges import check_order, sort_edges
from equitensor.graph.labels import Label, is_label, labels
from equitensor.graph.neighbors import neighbor_list
from equitensor.graph.structure import Structure

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False, repr=False)
class AtomicGraph:
    """Atoms and directed edges of b structures, with n atoms and e edges in total.

    Models rely on the order of the edges: use `from_edges` for your own neighbour list, which may be in any order.
    Raises InputError for edges that are not sorted by receiver, and for a wrong `rev`.

    | field       | shape  | meaning                                                                  |
    | ----------- | ------ | ------------------------------------------------------------------------ |
    | z           | (n,)   | atomic numbers                                                           |
    | pos         | (n, 3) | positions, Angstrom, float64 (models round edge vectors, not positions)  |
    | batch       | (n,)   | index of the structure that each atom belongs to                         |
    | edge_index  | (2, e) | row 0 sender, row 1 receiver; sorted by receiver                         |
    | shift       | (e, 3) | whole cells: edge_vec = pos[receiver] - pos[sender] + shift @ cell       |
    | rev         | (e,)   | index of the reverse of each edge                                        |
    | cell        | (b,3,3) | rows are lattice vectors, Angstrom                                      |
    | pbc         | (b, 3) | periodic directions                                                      |
    | fixed, tags | (n,)   | optional: atoms that are held fixed; OC20 tags                           |
    | energy      | (b,)   | optional label, eV; NaN if missing                                       |
    | forces      | (n, 3) | optional label, eV/Angstrom; NaN if missing                              |
    | stress      | (b,3,3) | optional label, eV/Angstrom^3, tension positive; NaN if missing         |
    | weight      | (b,)   | optional weight of each structure in the loss                            |
    | index       | (b,)   | optional index of each structure in its data set                         |
    | others      |        | further labels by name, NaN if missing; also available as attributes     |
    """

    z: Tensor
    pos: Tensor
    batch: Tensor
    edge_index: Tensor
    shift: Tensor
    rev: Tensor
    cell: Tensor
    pbc: Tensor
    fixed: Tensor | None = None
    tags: Tensor | None = None
    energy: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None
    weight: Tensor | None = None
    index: Tensor | None = None
    others: dict[str, Tensor] = field(default_factory=dict)
    ordered: InitVar[bool] = False  # known to be in order: not looked at again

    def __post_init__(self, ordered: bool):
        if not ordered:
            check_order(self.edge_index, self.shift, self.rev)

    def __getattr__(self, name):
        """A label that is no field."""
        if name.startswith("_") or not is_label(name):
            raise AttributeError(f"a graph has no {name!r}")
        return self.others.get(name)

    def __repr__(self) -> str:
        """Its sizes: thousands of numbers would tell less."""
        return f"AtomicGraph(structures={self.num_graphs}, atoms={self.num_nodes}, edges={self.num_edges})"

    @property
    def num_nodes(self) -> int:
        return self.z.shape[0]

    @property
    def num_edges(self) -> int:
        return self.edge_index.shape[1]

    @property
    def num_graphs(self) -> int:
        return self.cell.shape[0]

    @property
    def atoms_per_graph(self) -> Tensor:
        return torch.bincount(self.batch, minlength=self.num_graphs)

    def replace(self, ordered: bool = False, **changes: Any) -> "AtomicGraph":
        """A copy with these fields. Edges among them are checked, unless `ordered` says that their order is right."""
        return replace(self, ordered=ordered or not {"edge_index", "shift", "rev"} & set(changes), **changes)

    def edge_vectors(self, pos: Tensor | None = None, cell: Tensor | None = None) -> Tensor:
        """(e, 3) vectors from sender to receiver, for these or for strained or displaced positions and cells."""
        pos = self.pos if pos is None else pos
        cell = self.cell if cell is None else cell
        sender, receiver = self.edge_index
        vectors = pos.index_select(0, receiver) - pos.index_select(0, sender)
        if not self.pbc.any():
            return vectors
        edge_cell = cell.index_select(0, self.batch.index_select(0, receiver))
        return vectors + torch.einsum("ea,eab->eb", self.shift.to(cell.dtype), edge_cell)

    def arrays(self) -> dict[str, np.ndarray]:
        """The tensors by name, on the CPU and as arrays, which are faster to send to another process than tensors."""
        return {name: tensor.numpy() for name, tensor in self._tensors()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "AtomicGraph":
        """The graph of such arrays; their order is not checked again."""
        return cls(**_with_others({name: torch.from_numpy(array) for name, array in arrays.items()}), ordered=True)

    def __reduce_ex__(self, protocol):
        """As arrays, since a process that receives tensors asks the sender for a file of each."""
        try:
            return AtomicGraph.from_arrays, (self.arrays(),)
        except (RuntimeError, TypeError):  # with gradients, on a GPU, of a kind that arrays lack
            return super().__reduce_ex__(protocol)

    def to(self, device: str | torch.device) -> "AtomicGraph":
        if self.z.device == torch.device(device):
            return self
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "AtomicGraph":
        return self._map(Tensor.pin_memory)

    def outside_inference(self) -> "AtomicGraph":
        """This graph, with copies of tensors made under torch.inference_mode, which autograd cannot use."""
        if not any(tensor.is_inference() for _, tensor in self._tensors()):
            return self
        return self._map(lambda tensor: tensor.clone() if tensor.is_inference() else tensor)

    def _map(self, function) -> "AtomicGraph":
        named = {name: function(value) for name, value in self._tensors()}
        return replace(self, ordered=True, **_with_others(named))

    def _tensors(self):
        values = vars(self)
        return [(name, values[name]) for name in _TENSORS if values[name] is not None] + [*self.others.items()]

    @classmethod
    def from_structure(cls, structure: Structure, cutoff: float, index: int | None = None) -> "AtomicGraph":
        """The graph of one structure with its labels and all edges shorter than `cutoff` (Angstrom).

        Raises InputError for a structure without atoms, or one for which neighbours cannot be determined.
        """
        if len(structure) == 0:
            raise InputError(f"{structure.source or 'the structure'} has no atoms")
        try:
            edge_index, shift, rev = neighbor_list(structure.pos, structure.cell, structure.pbc, cutoff)
        except InputError as error:
            raise InputError(f"{structure.source or 'structure'}: {error}") from None
        n, tensor = len(structure), torch.from_numpy
        return cls(
            z=tensor(structure.z),
            pos=tensor(structure.pos),
            batch=torch.zeros(n, dtype=torch.int64),
            edge_index=tensor(edge_index),
            shift=tensor(shift),
            rev=tensor(rev),
            cell=tensor(structure.cell)[None],
            pbc=tensor(structure.pbc)[None],
            fixed=torch.zeros(n, dtype=torch.bool) if structure.fixed is None else tensor(structure.fixed),
            tags=torch.zeros(n, dtype=torch.int64) if structure.tags is None else tensor(structure.tags),
            **_with_others({label.name: _label(label, structure) for label in labels()}),
            weight=torch.tensor([structure.weight], dtype=torch.float64),
            index=None if index is None else torch.tensor([index]),
            ordered=True,
        )

    @classmethod
    def from_edges(
        cls,
        z: ArrayLike | Tensor,
        pos: ArrayLike | Tensor,
        edge_index: ArrayLike | Tensor,
        shift: ArrayLike | Tensor | None = None,
        cell: ArrayLike | Tensor | None = None,
        pbc: ArrayLike | Tensor | None = None,
    ) -> "AtomicGraph":
        """The graph of one structure with your own full neighbour list, in any order.

        A model needs all pairs within its cutoff, each in both directions (i to j with shift S, j to i with -S).
        Missing edges are missing in the energy.

        Args:
            z: (n,) atomic numbers. All arguments are arrays or tensors.
            pos: (n, 3) positions in Angstrom.
            edge_index: (2, e), row 0 senders, row 1 receivers.
            shift: (e, 3) whole cells, edge_vec = pos[receiver] - pos[sender] + shift @ cell; None: no periodic images.
            cell: (3, 3), rows are lattice vectors in Angstrom; None for a molecule.
            pbc: (3,) bool; None for a molecule.

        Raises:
            InputError: shapes that do not fit, atoms that do not exist, an edge that is listed twice, an edge without
                its reverse (a half list), an atom that is its own neighbour.
        """
        pos = torch.as_tensor(pos, dtype=torch.float64)
        z = torch.as_tensor(z, dtype=torch.int64, device=pos.device)
        cell = torch.zeros(3, 3) if cell is None else torch.as_tensor(np.asarray(cell))
        pbc = torch.zeros(3) if pbc is None else torch.as_tensor(np.broadcast_to(pbc, 3).copy())
        edge_index, shift, rev = sort_edges(edge_index, shift, len(z))
        if pos.shape != (len(z), 3) or cell.shape != (3, 3):
            raise InputError(f"pos is {tuple(pos.shape)}, cell {tuple(cell.shape)}: give ({len(z)}, 3) and (3, 3)")
        return cls(
            z=z,
            pos=pos,
            batch=torch.zeros_like(z),
            edge_index=edge_index.to(pos.device),
            shift=shift.to(pos.device),
            rev=rev.to(pos.device),
            cell=cell.to(pos)[None],
            pbc=pbc.to(pos.device, torch.bool)[None],
            ordered=True,
        )

    @classmethod
    def collate(cls, graphs: list["AtomicGraph"]) -> "AtomicGraph":
        """Combine several graphs into one batch, without edges between them."""
        if len(graphs) == 1:
            return graphs[0]
        nodes = [0, *accumulate(g.num_nodes for g in graphs)]
        edges = [0, *accumulate(g.num_edges for g in graphs)]
        structures = [0, *accumulate(g.num_graphs for g in graphs)]
        offsets = {"edge_index": nodes, "rev": edges, "batch": structures}
        joined, values = {}, [vars(g) | g.others for g in graphs]
        for name, _ in graphs[0]._tensors():
            parts = [tensors[name] for tensors in values]
            if name in offsets:
                parts = [part + offset if offset else part for part, offset in zip(parts, offsets[name], strict=False)]
            joined[name] = torch.cat(parts, dim=1 if name == "edge_index" else 0)
        return cls(**_with_others(joined), ordered=True)


_TENSORS = tuple(each.name for each in fields(AtomicGraph) if each.name != "others")
_FIELDS = frozenset((*_TENSORS, "others"))


def _with_others(values: dict[str, Tensor]) -> dict:
    """The values of fields by name, the rest under `others`."""
    others = {name: value for name, value in values.items() if name not in _FIELDS}
    return {name: value for name, value in values.items() if name in _FIELDS} | {"others": others}


def _label(label: Label, structure: Structure) -> Tensor:
    """(n, ...) or (1, ...) float64, NaN where the structure has none."""
    value, shape = getattr(structure, label.name), label.full_shape(len(structure))
    value = np.full(shape, np.nan) if value is None else np.asarray(value, np.float64)
    return torch.from_numpy(value if label.per_atom else value.reshape(1, *shape))


def from_ase(atoms: "Atoms | list[Atoms]", cutoff: float) -> AtomicGraph:
    """The graph of an ase.Atoms, or the batched graph of a list of them, with edges up to `cutoff` (Angstrom)."""
    several = atoms if isinstance(atoms, list | tuple) else [atoms]
    if not several:
        raise InputError("no structures: the list of atoms is empty")
    graphs = [AtomicGraph.from_structure(Structure.from_ase(a), cutoff) for a in several]
    return AtomicGraph.collate(graphs)

"""A potential: a backbone with its units, its elements, and energies turned into forces and stress."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.graph import AtomicGraph
from equitensor.graph.labels import get_label, is_label
from equitensor.models.backbone import Backbone
from equitensor.models.repulsion import Repulsion
from equitensor.models.zbl import ZBL
from equitensor.nn.neighborhood import neighborhood
from equitensor.ops.radial import envelope

if TYPE_CHECKING:
    from equitensor.models.error_bars import ErrorBars

SYMBOLS_HINT = "take a model that knows the element, or train one on data that contain it"


class Potential(nn.Module):
    """E = sum_i [E0_{z_i} + scale e_i + shift (1 - exp(-sum_j u(d_ij / c)))], forces -dE/dx, stress dE/d(strain) / V.

    e_i are the atomic energies of the backbone, in float32 or float64; sums, E0s and geometry are float64. The last
    term is the mean interaction energy; it vanishes for atoms without neighbours, so the energy of an isolated atom is
    its E0.

    The attribute d3, as "pbe-bj", names a dispersion that was subtracted from the training labels and is missing in
    these energies: equitensor.Calculator adds it.

    Args:
        backbone: maps (species, neighborhood) to energies (n,), features (n, d) and optionally contributions of the
            atoms to further labels by name (n, ...), which are summed for labels of structures.
        cutoff: in Angstrom.
        elements: atomic numbers in ascending order.
        e0s: in eV, one for each element.
        scale, shift: in eV.
        zbl: add the ZBL repulsion.
        repulsion: add the repulsion that starts below the distances of the training data (`Repulsion`).
    """

    backbone: Backbone
    species_of: Tensor
    error_bars: "ErrorBars | None" = None  # those of the model file that it was loaded from

    def __init__(
        self,
        backbone: Backbone,
        cutoff: float,
        elements: Iterable[int],
        e0s: Mapping[int, float],
        scale: float = 1.0,
        shift: float = 0.0,
        zbl: bool = False,
        settings: Mapping[str, Any] | None = None,
        repulsion: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.cutoff, self.elements = backbone, float(cutoff), tuple(elements)
        self.scale, self.shift, self.settings = float(scale), float(shift), dict(settings or {})
        self.zbl = ZBL(cutoff) if zbl else None
        self.repulsion = Repulsion(self.elements, cutoff) if repulsion else None
        self.d3: str | None = None
        species = torch.full((max(self.elements) + 1,), -1)
        species[list(self.elements)] = torch.arange(len(self.elements))
        self.register_buffer("species_of", species, persistent=False)
        self.e0s = torch.tensor([float(e0s[z]) for z in self.elements], dtype=torch.float64)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.e0s = self.e0s.to(self.device)  # follows the device; stays float64
        return self

    @property
    def dtype(self) -> torch.dtype:
        return next(self.backbone.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return self.species_of.device

    def forward(
        self, graph: AtomicGraph, forces: bool = True, stress: bool | None = None, features: bool = False
    ) -> dict[str, Tensor]:
        """Compute energy (b,), energies (n,), forces (n, 3) and stress (b, 3, 3) in eV and Angstrom, float64.

        features=True adds the features (n, d) of the atoms. With stress=None the stress is computed if any graph is
        periodic in all directions; it is NaN for the others. In training mode the results, forces included, can be
        differentiated; in evaluation mode they are detached. Also works under torch.inference_mode. Raises InputError
        for an element that the model does not know.
        """
        with torch.inference_mode(False):
            return self._results(graph.outside_inference(), forces, stress, features)

    def _results(self, graph: AtomicGraph, forces: bool, stress: bool | None, features: bool) -> dict[str, Tensor]:
        stress = bool(graph.pbc.all(dim=1).any()) if stress is None else stress
        with torch.enable_grad():
            pos, cell, strain = graph.pos.detach().requires_grad_(forces or stress), graph.cell, None
            if stress:
                pos, cell, strain = _strained(pos, cell, graph.batch)
            energies, of_atoms, others = self._atomic(graph, graph.edge_vectors(pos, cell))
            energy = energies.new_zeros(graph.num_graphs).index_add(0, graph.batch, energies)
            out = {"energy": energy, "energies": energies, **_of_structures(others, graph)}
            if features:
                out["features"] = of_atoms
            if forces or stress:
                out.update(self._derivatives(energy, graph, pos, strain))
        return out if self.training else {name: value.detach() for name, value in out.items()}

    def atomic_energies(self, graph: AtomicGraph, vectors: Tensor) -> Tensor:
        """(n,) energies of the atoms, with E0s, for edge vectors (e, 3) in float64."""
        return self._atomic(graph, vectors)[0]

    def _atomic(self, graph: AtomicGraph, vectors: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        species = self._species(graph.z)
        seen = self._seen(graph, species, vectors)
        energies, features, *others = self._backbone(graph, species, seen)
        self._check_results(len(species), energies, features, others[0] if others else {})
        near = envelope(seen.norm(dim=1) / self.cutoff)
        coordination = near.new_zeros(graph.num_nodes).index_add(0, graph.edge_index[1], near)
        interaction = self.scale * energies.double() - self.shift * torch.expm1(-coordination)
        if self.zbl is not None:
            interaction = interaction + self.zbl(graph.z, graph.edge_index, vectors.norm(dim=1))
        if self.repulsion is not None:
            interaction = interaction + self.repulsion(graph.z, species, graph.edge_index, vectors)
        return interaction + self.e0s.index_select(0, species), features, others[0] if others else {}

    def _check_results(self, count: int, energies: Tensor, features: Tensor, others: dict[str, Tensor]) -> None:
        """Raise InputError for a backbone whose results are not one row per atom: broadcast, they would be wrong."""
        expected = {"energies": (energies, (count,)), "features": (features, (count, *features.shape[-1:]))}
        for name, value in others.items():
            if not is_label(name):
                raise InputError(f"{type(self.backbone).__name__} predicts {name!r}, which the table of labels lacks")
            expected[name] = (value, (count, *get_label(name).shape))
        for name, (value, shape) in expected.items():
            if tuple(value.shape) != shape:
                actual = tuple(value.shape)
                raise InputError(f"{type(self.backbone).__name__} returns {name} of shape {actual}, not {shape}")

    def descriptors(self, graph: AtomicGraph) -> Tensor:
        """(n, d) features of each atom, invariant under rotation, reflection and translation."""
        with torch.inference_mode(False):
            graph = graph.outside_inference()
            species = self._species(graph.z)
            return self._backbone(graph, species, self._seen(graph, species, graph.edge_vectors()))[1]

    def _seen(self, graph, species, vectors):
        return vectors if self.repulsion is None else self.repulsion.seen(species, graph.edge_index, vectors)

    def _backbone(self, graph, species, vectors):
        vectors = vectors.to(self.dtype)
        rows = neighborhood(graph.edge_index, vectors, graph.rev, graph.num_nodes, self.cutoff)
        return self.backbone(species, rows)

    def _species(self, z: Tensor) -> Tensor:
        known = self.species_of.index_select(0, z.clamp(max=len(self.species_of) - 1))
        species = torch.where(z < len(self.species_of), known, -1)
        if bool((species < 0).any()):
            strange = sorted(set(z[species < 0].tolist()))
            raise InputError(
                f"the model knows the elements {_symbols(self.elements)}, not {_symbols(strange)}: {SYMBOLS_HINT}"
            )
        return species

    def _derivatives(self, energy, graph, pos, strain) -> dict[str, Tensor]:
        """Forces and stress: the only place in the project where the energy is differentiated."""
        wrt = [pos] if strain is None else [pos, strain]
        gradients = torch.autograd.grad(
            energy.sum(), wrt, create_graph=self.training, allow_unused=True, materialize_grads=True
        )
        out = {"forces": -gradients[0]}
        if strain is not None:
            periodic = graph.pbc.all(dim=1).view(-1, 1, 1)
            volume = torch.linalg.det(graph.cell).abs().view(-1, 1, 1).where(periodic, 1.0)  # a zero spoils gradients
            out["stress"] = (gradients[1] / volume).where(periodic, torch.nan)
        return out


def _of_structures(others: dict[str, Tensor], graph: AtomicGraph) -> dict[str, Tensor]:
    """Contributions of atoms in float64, summed over those of a structure where the label is one of structures."""
    results = {}
    for name, value in others.items():
        value = value.double()
        zero = value.new_zeros(graph.num_graphs, *value.shape[1:])
        results[name] = value if get_label(name).per_atom else zero.index_add(0, graph.batch, value)
    return results


def _strained(pos: Tensor, cell: Tensor, batch: Tensor):
    """Positions and cells under a symmetric strain (b, 3, 3) that is zero but can be differentiated by."""
    strain = torch.zeros_like(cell).requires_grad_(True)
    symmetric = 0.5 * (strain + strain.mT)
    pos = pos + torch.einsum("na,nab->nb", pos, symmetric.index_select(0, batch))
    return pos, cell + cell @ symmetric, strain


def _symbols(numbers) -> str:
    from ase.data import chemical_symbols

    return ", ".join(chemical_symbols[z] for z in numbers)

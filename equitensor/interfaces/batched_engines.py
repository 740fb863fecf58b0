"""What computes many structures at once: torch on any device, or the compiled evaluator on a CPU."""

import numpy as np
import torch
from torch import Tensor

from equitensor.interfaces.backend import dispersion, open_bare
from equitensor.interfaces.batched_dispersion import ManyWithD3
from equitensor.interfaces.batched_list import Batch, BatchedList
from equitensor.interfaces.core_engine import Rows
from equitensor.interfaces.one_at_a_time import note_threads
from equitensor.interfaces.structure_check import check_elements
from equitensor.models import ErrorBars


def open_batched(model, device="auto", dtype=None, skin=0.5, backend="auto", threads=None, d3=None, error_bars=True):
    """(engine, why): a BatchedCore or a BatchedTorch and the reason, by the rules of `open_engine`."""
    added = dispersion(model, d3)
    one, why = open_bare(model, device, dtype, skin, backend, threads)
    engine = BatchedCore(one.model, one.rows, skin) if one.backend == "core" else BatchedTorch(one.model, skin)
    engine.error_bars = one.error_bars if error_bars else None
    return (engine if added is None else ManyWithD3(engine, added)), why


class _Batched:
    """Neighbours that follow the structures, and the check of their elements."""

    def __init__(self, model, skin: float, device):
        self.model, self.device, self.skin = model, torch.device(device), skin
        self.neighbors = BatchedList(model.cutoff, skin, device)
        self.error_bars: ErrorBars | None = None
        self._known: Tensor | None = None

    def _check(self, now: Batch) -> None:
        if self._known is None or not now.z.equal(self._known):
            check_elements(now.z.cpu().numpy(), np.array(self.model.elements))
            self._known = now.z.clone()

    def _with_error_bars(self, now: Batch, out: dict, features: Tensor | np.ndarray | None) -> dict[str, Tensor]:
        """And those of every structure, from the features of all atoms."""
        if self.error_bars is None or features is None:
            return out
        features = features.detach().cpu().double().numpy() if isinstance(features, Tensor) else features
        numbers, batch = now.z.cpu().numpy(), now.batch.cpu().numpy()
        energy_std, of_atoms = np.empty(len(now.cell)), np.empty((2, len(numbers)))
        for k in range(len(now.cell)):
            mine = batch == k
            bars = self.error_bars.of(numbers[mine], features[mine])
            energy_std[k] = bars["energy_std"]
            of_atoms[:, mine] = bars["forces_std"], bars["novelty"]
        error_bars = {"energy_std": energy_std, "forces_std": of_atoms[0], "novelty": of_atoms[1]}
        return out | {name: torch.from_numpy(values).to(self.device) for name, values in error_bars.items()}

    def __getstate__(self):  # neighbours are found again when needed
        return self.__dict__ | {"neighbors": BatchedList(self.model.cutoff, self.skin, self.device), "_known": None}


class BatchedTorch(_Batched):
    """Structures by a Potential in torch, which computes one graph of all.

    Args: model, a Potential in evaluation mode, whose device is that of the results; skin in Angstrom.
    """

    backend = "torch"

    def __init__(self, model, skin: float):
        super().__init__(model, skin, model.device)

    @torch.inference_mode(False)  # what is kept here must serve outside of it
    def compute(self, now: Batch, forces: bool = True, stress: bool = True) -> dict[str, Tensor]:
        """energy (b,), energies (n,) and, where asked for, forces (n, 3), stress (b, 3, 3), tension positive; float64.

        The stress of a structure that is not periodic along all vectors is NaN. With error_bars energy_std (b,),
        forces_std (n,) and novelty (n,) as well.
        """
        self._check(now)
        note_threads(torch.get_num_threads())
        wanted = {} if self.error_bars is None else {"features": True}
        out = self.model(self.neighbors.graph(now), forces=forces, stress=stress, **wanted)
        features = out.pop("features", None)
        return self._with_error_bars(now, {k: v for k, v in out.items() if k != "forces" or forces}, features)


class BatchedCore(_Batched):
    """Structures by the compiled evaluator, on the CPU: to it they are one system, without edges in between.

    Args: model, an open model file; rows, who evaluates them; skin in Angstrom.
    """

    backend = "core"

    def __init__(self, model, rows: Rows, skin: float):
        super().__init__(model, skin, "cpu")
        self.rows = rows

    @torch.inference_mode(False)
    def compute(self, now: Batch, forces: bool = True, stress: bool = True) -> dict[str, Tensor]:
        """As `BatchedTorch.compute`."""
        self._check(now)
        if self.neighbors.follow(now):
            wide = self.neighbors.wide
            sender, receiver = wide.edge_index.numpy()
            self.rows.take(wide.z.numpy(), sender, receiver)
        translation = self.neighbors.translation.T.contiguous().numpy()
        bars = self.error_bars is not None
        result = self.rows.evaluate(now.pos.numpy(), translation, virials=stress, features=bars)
        energies = torch.from_numpy(result.energies)
        out = {"energy": now.sums(energies), "energies": energies}
        if forces:
            out["forces"] = torch.from_numpy(result.forces)
        if stress:
            out["stress"] = _stress(now, torch.from_numpy(result.virials))
        return self._with_error_bars(now, out, result.features)


def _stress(now: Batch, virials: Tensor) -> Tensor:
    """(b, 3, 3) of the virials of atoms (n, 6), xx, yy, zz, xy, xz, yz, in eV."""
    virial = now.sums(virials)[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].view(-1, 3, 3)
    periodic = now.pbc.all(1).view(-1, 1, 1)
    return (-virial / torch.linalg.det(now.cell).abs().view(-1, 1, 1)).where(periodic, torch.nan)

"""TorchSim (torch-sim-atomistic): many structures relaxed or moved at once, on a GPU or a CPU."""

from typing import get_args

import torch
from torch import Tensor

from equitensor.interfaces.batched_engines import open_batched
from equitensor.interfaces.batched_list import Batch
from equitensor.interfaces.one_at_a_time import OneAtATime
from equitensor.interfaces.torch_engine import pick_dtype

try:
    from torch_sim.models.interface import ModelInterface
    from torch_sim.typing import MemoryScaling
except ModuleNotFoundError as error:
    raise ImportError(f"{error}: TorchSim is an extra, pip install equitensor[torchsim]") from None

_SCALING = (
    "n_edges" if "n_edges" in get_args(MemoryScaling) else "n_atoms_x_density"
)  # what older releases come nearest


class Model(ModelInterface):
    """A potential as a model of TorchSim: eV, Angstrom, stress in eV/Angstrom^3 with tension positive.

    Results of a state: energy (b,), energies (n,) of the atoms, E0s included, both in float64; forces (n, 3) and stress
    (b, 3, 3), NaN for structures that are not periodic along a, b and c, in the precision of its positions. With error
    bars in the model file also energy_std (b,), forces_std (n,) and novelty (n,) in float64, as `equitensor.Calculator`
    gives them.

    Args: model, a model file or a Potential (which is copied, not changed); device, "auto" takes a GPU where there is
    one; dtype of the states that TorchSim makes for it, "float64" or "float32"; compute_forces, compute_stress, whether
    these are given; precision of the network, None for that of the model; skin in Angstrom, how far beyond the cutoff
    neighbours are searched so that the list of a structure serves many steps; backend and threads, as in
    `equitensor.Calculator`: on a CPU the compiled evaluator where it can, `backend` and `why` say which and the reason;
    d3, as there (on the CPU, one structure after the other); error_bars, False: do without those of the model file.

    Raises InputError for what `equitensor.Calculator` refuses, naming the structure.
    """

    def __init__(
        self,
        model,
        device="auto",
        dtype="float64",
        *,
        compute_forces=True,
        compute_stress=True,
        precision=None,
        skin=0.5,
        backend="auto",
        threads=None,
        d3=None,
        error_bars=True,
    ):
        super().__init__()
        self._engine, self.why = open_batched(
            model, device or "auto", precision, skin, backend, threads, d3, error_bars
        )
        self._device, self._dtype = self._engine.device, pick_dtype(dtype)
        self._compute_forces, self._compute_stress = bool(compute_forces), bool(compute_stress)
        self._memory_scales_with = _SCALING
        self._alone = OneAtATime()

    @property
    def backend(self) -> str:
        """What computes, "core" or "torch"; `why` says the reason."""
        return self._engine.backend

    @property
    def cutoff(self) -> float:
        """Angstrom; memory goes with the number of edges shorter than it."""
        return self._engine.model.cutoff

    @property
    def compute_forces(self) -> bool:
        """Whether forces are among the results."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        self._compute_forces = bool(value)

    @property
    def compute_stress(self) -> bool:
        """Whether the stress is among the results."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        self._compute_stress = bool(value)

    def forward(self, state, **_) -> dict[str, Tensor]:
        """Results for a SimState of TorchSim, or a dictionary of its fields (cell: columns are lattice vectors)."""
        with self._alone:
            out = self._engine.compute(_batch(state, self._device), self._compute_forces, self._compute_stress)
        kept = _field(state, "positions")
        rounded = {name: out[name].to(kept) for name in ("forces", "stress") if name in out}
        return {name: value.to(kept.device) for name, value in (out | rounded).items()}


def _field(state, name: str):
    return state.get(name) if isinstance(state, dict) else getattr(state, name, None)


def _batch(state, device) -> Batch:
    """The structures of a state, cells as rows of lattice vectors."""
    pos = _field(state, "positions").detach().to(device, torch.float64)
    index, cell = _field(state, "system_idx"), _field(state, "cell").detach().to(device, torch.float64)
    cell = cell.view(-1, 3, 3).mT.contiguous()
    pbc = torch.as_tensor(_field(state, "pbc"), dtype=torch.bool, device=device)
    return Batch(
        z=_field(state, "atomic_numbers").to(device, torch.int64),
        pos=pos,
        batch=pos.new_zeros(len(pos), dtype=torch.int64) if index is None else index.to(device, torch.int64),
        cell=cell,
        pbc=pbc.expand(len(cell), 3).contiguous(),
    )

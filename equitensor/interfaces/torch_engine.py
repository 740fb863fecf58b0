"""A potential computed by torch, on any device, for one structure as it moves."""

import copy
from pathlib import Path

import numpy as np
import torch

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.graph_list import GraphList
from equitensor.interfaces.one_at_a_time import note_threads, refuse_after_fork

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TorchEngine:
    """Energies, forces, stress and features of structures, in numpy.

    Args: model, a model file or a Potential (which is copied, not changed); device and dtype, names or torch's own
    (`pick_device`, `pick_dtype`); skin in Angstrom.
    """

    backend = "torch"

    def __init__(self, model, device, dtype, skin: float):
        refuse_after_fork(torch.get_num_threads())
        self.model = _ready(model, pick_device(device), pick_dtype(dtype))
        self.error_bars = getattr(self.model, "error_bars", None)
        self.elements, self.cutoff = np.array(self.model.elements), self.model.cutoff
        self.neighbors = GraphList(self.cutoff, skin, self.model.device)

    @property
    def coordination(self) -> np.ndarray:
        """(n,) neighbours within the cutoff of each atom of the structure computed last."""
        return torch.bincount(self.graph.edge_index[1], minlength=self.graph.num_nodes).cpu().numpy()

    @torch.inference_mode(False)  # what is kept here must serve outside of it
    def compute(self, structure: Structure, stress: bool, features: bool = False) -> dict:
        """energy, energies (n,), forces (n, 3) and, where asked for, stress (3, 3), tension positive, and features
        (n, d); with error bars in the model energy_std, forces_std (n,) and novelty (n,).

        The stress is (1/V) dE/d(strain) with V the volume of the cell, whatever is periodic.
        """
        note_threads(torch.get_num_threads())
        self.graph = graph = self.neighbors.graph(structure)
        if stress and not structure.pbc.all():
            # Shifts are zero along the other vectors: calling them periodic changes no energy.
            cell = torch.from_numpy(structure.cell).to(graph.cell)
            graph = graph.replace(pbc=torch.ones_like(graph.pbc), cell=cell[None])
        wanted = {"features": True} if features or self.error_bars is not None else {}
        out = self.model(graph, forces=True, stress=stress, **wanted)
        out = {name: value.detach().cpu().double().numpy() for name, value in out.items()}
        out["energy"] = float(out["energy"][0])
        if stress:
            out["stress"] = out["stress"][0]
        if self.error_bars is not None:
            out |= self.error_bars.of(structure.z, out["features"])
        if not features:
            out.pop("features", None)
        return out

    @torch.inference_mode(False)
    @torch.no_grad()
    def descriptors(self, structure: Structure) -> np.ndarray:
        """(n, d) features that no rotation, reflection or translation changes."""
        note_threads(torch.get_num_threads())
        return self.model.descriptors(self.neighbors.graph(structure)).cpu().numpy()


def pick_device(device) -> torch.device:
    """The torch device of a name; "auto" takes a GPU if there is one. InputError for any but CPU and CUDA."""
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError, AssertionError):  # the last where torch is built without the device
        raise InputError(f"device {device!r} is unknown: say auto, cpu, cuda or cuda:0") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {str(device)!r} is not one that models are made for: say auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {str(device)!r} asks for a GPU, but torch sees none here: say cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {str(device)!r} does not exist: torch sees {torch.cuda.device_count()} GPUs")
    return device


def pick_dtype(name) -> torch.dtype | None:
    """The torch dtype of a name, None for that of the model. InputError for an unknown name."""
    if name is None or isinstance(name, torch.dtype):
        return name
    if name not in _DTYPES:
        raise InputError(f"dtype {name!r} is unknown: say float32 or float64")
    return _DTYPES[name]


@torch.inference_mode(False)  # weights copied under it could not be differentiated
def _ready(model, device, dtype):
    """The model on this device, in this precision, in eval mode, its weights frozen; objects are copied."""
    if isinstance(model, str | Path):
        model = models.load(model, device=device, dtype=dtype, without_d3=True)
    else:
        model = copy.deepcopy(model).to(device=device, dtype=dtype or model.dtype)
    return model.eval().requires_grad_(False)

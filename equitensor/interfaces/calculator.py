"""The ASE calculator: energies, forces and stress of a potential, in ASE's names and units."""

import copy
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure, check_geometry
from equitensor.graph.geometry import TOO_CLOSE
from equitensor.interfaces.one_at_a_time import OneAtATime, note_threads, refuse_after_fork
from equitensor.interfaces.skin_list import SkinList
from equitensor.interfaces.structure_check import StructureCheck, no_stress

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Calculator(AseCalculator):
    """A potential as an ASE calculator.

    | result              | shape  | unit         | note                                                   |
    | ------------------- | ------ | ------------ | ------------------------------------------------------ |
    | energy, free_energy | scalar | eV           | the same number                                        |
    | energies            | (n,)   | eV           | of each atom, its E0 included; they sum to the energy  |
    | forces              | (n, 3) | eV/Angstrom  |                                                        |
    | stress              | (6,)   | eV/Angstrom3 | xx, yy, zz, yz, xz, xy; tension positive; of full pbc  |

    Args: model, a model file or a Potential (which is copied, not changed); device, "auto" takes a GPU where
    there is one; dtype, "float32", "float64", or None for that of the model; skin in Angstrom, how far beyond
    the cutoff neighbours are searched so that the list serves many steps (0: search at every step); stress,
    "periodic" (of structures that are periodic along a, b and c) or "cell" (also of slabs, wires and molecules in a
    cell: (1/V) dE/d(strain) with V the volume of that cell, vacuum included).

    Raises InputError for an element that the model does not know, a cell that does not span the periodic directions
    or is a placeholder, and two atoms in one place; PropertyNotImplementedError for a stress that there is not.
    RuntimeError where two threads use one calculator (give each its own), and in a process that was forked off after
    a computation with several threads, where OpenMP would hang (start workers with "spawn").
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, model, device="auto", dtype="float32", skin=0.5, stress="periodic", **kwargs):
        super().__init__(**kwargs)
        refuse_after_fork(torch.get_num_threads())
        if not isinstance(skin, int | float) or not 0 <= skin < np.inf:
            raise InputError(f"skin is {skin!r}; it must be a length in Angstrom, 0 or more")
        if stress not in ("periodic", "cell"):
            raise InputError(f"stress is {stress!r}: say periodic or cell")
        self.stress = stress
        self.model = _ready(model, pick_device(device), pick_dtype(dtype))
        self.skin = float(skin)
        self._check = StructureCheck(self.model.elements)
        self._neighbors = SkinList(self.model.cutoff, self.skin, self.model.device)
        self._graph: AtomicGraph | None = None
        self._alone = OneAtATime()

    @property
    def elements(self) -> list[str]:
        """The chemical symbols of the elements that the model knows."""
        return [chemical_symbols[z] for z in self.model.elements]

    @property
    def coordination(self) -> np.ndarray:
        """(n,) neighbours within the cutoff of each atom, in the structure computed last."""
        receivers = self._graph.edge_index[1]
        return torch.bincount(receivers, minlength=self._graph.num_nodes).cpu().numpy()

    def descriptors(self, atoms) -> np.ndarray:
        """(n, d) features of each atom that no rotation, reflection or translation changes."""
        note_threads(torch.get_num_threads())
        with self._alone, torch.inference_mode(False), torch.no_grad():
            return self.model.descriptors(self._graph_of(atoms)).cpu().numpy()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute all results at once (ASE calls this)."""
        note_threads(torch.get_num_threads())
        with self._alone, torch.inference_mode(False):  # what is kept here must serve outside of it
            super().calculate(atoms, properties, system_changes)
            self._calculate("stress" in properties)

    def _calculate(self, stress_asked: bool):
        cell, pbc = self.atoms.cell.array, self.atoms.pbc
        has_stress = pbc.all() or (self.stress == "cell" and abs(np.linalg.det(cell)) > 0)
        if stress_asked and not has_stress:
            raise PropertyNotImplementedError(no_stress(cell, pbc))
        self._graph = graph = self._graph_of(self.atoms)
        if (
            has_stress and not pbc.all()
        ):  # its shifts are zero along the others: calling them periodic changes no energy
            volume = torch.from_numpy(cell.astype(np.float64)).to(graph.cell)
            graph = graph.replace(pbc=torch.ones_like(graph.pbc), cell=volume[None])
        out = self.model(graph, forces=True, stress=bool(has_stress))
        out = {name: value.detach().cpu().double().numpy() for name, value in out.items()}
        energy = float(out["energy"][0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": out["energies"],
            "forces": out["forces"],
        }
        if has_stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(out["stress"][0])

    def check_state(self, atoms, tol=1e-15):
        """What the energy depends on and has changed since the last call: exact, quicker than ASE's check."""
        if self.atoms is None:
            return all_changes
        pairs = {name: (getattr(atoms, name), getattr(self.atoms, name)) for name in ("positions", "numbers", "pbc")}
        pairs["cell"] = (atoms.cell.array, self.atoms.cell.array)
        return [name for name, (now, last) in pairs.items() if not np.array_equal(now, last)]

    def get_property(self, name, atoms=None, allow_calculation=True):
        """One result of a structure, computed if needed (ASE calls this)."""
        with self._alone:
            return super().get_property(name, atoms, allow_calculation)

    def _graph_of(self, atoms) -> AtomicGraph:
        numbers, cell, pbc = atoms.numbers.astype(np.int64), atoms.cell.array.astype(np.float64), atoms.pbc.astype(bool)
        pos = np.array(atoms.positions, dtype=np.float64)
        self._check(numbers, pos, cell, pbc)
        graph = self._neighbors.graph(Structure(numbers, pos, cell, pbc))
        if self._neighbors.closest < TOO_CLOSE:
            check_geometry(pos, cell, pbc)
        return graph


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
        model = models.load(model, device=device, dtype=dtype)
    else:
        model = copy.deepcopy(model).to(device=device, dtype=dtype or model.dtype)
    return model.eval().requires_grad_(False)

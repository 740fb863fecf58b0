"""The ASE calculator: energies, forces and stress of a potential, in ASE's names and units."""

import copy
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure
from equitensor.interfaces.skin_list import SkinList

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Calculator(AseCalculator):
    """A potential as an ASE calculator.

    | result              | shape  | unit         | note                                                   |
    | ------------------- | ------ | ------------ | ------------------------------------------------------ |
    | energy, free_energy | scalar | eV           | the same number                                        |
    | energies            | (n,)   | eV           | of each atom, its E0 included; they sum to the energy  |
    | forces              | (n, 3) | eV/Angstrom  |                                                        |
    | stress              | (6,)   | eV/Angstrom3 | xx, yy, zz, yz, xz, xy; tension positive; full pbc only |

    Args: model, a model file or a Potential (which is copied, not changed); device, "auto" takes a GPU where
    there is one; dtype, "float32", "float64", or None for that of the model; skin in Angstrom, how far beyond
    the cutoff neighbours are searched so that the list serves many steps (0: search at every step). Raises
    InputError for an element that the model does not know and for a periodic direction without a lattice
    vector.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, model, device="auto", dtype="float32", skin=0.5, **kwargs):
        super().__init__(**kwargs)
        if skin < 0:
            raise InputError(f"skin is {skin} Angstrom; it must be 0 or more")
        self.model = _ready(model, pick_device(device), pick_dtype(dtype))
        self.skin = float(skin)
        self._known = np.array(self.model.elements)
        self._neighbors = SkinList(self.model.cutoff, self.skin, self.model.device)
        self._graph: AtomicGraph | None = None
        self._checked = None

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
        with torch.no_grad():
            return self.model.descriptors(self._graph_of(atoms)).cpu().numpy()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute all results at once (ASE calls this)."""
        super().calculate(atoms, properties, system_changes)
        self._graph = self._graph_of(self.atoms)
        periodic = bool(self.atoms.pbc.all())
        out = self.model(self._graph, forces=True, stress=periodic)
        out = {name: value.detach().cpu().double().numpy() for name, value in out.items()}
        energy = float(out["energy"][0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": out["energies"],
            "forces": out["forces"],
        }
        if periodic:
            self.results["stress"] = full_3x3_to_voigt_6_stress(out["stress"][0])

    def check_state(self, atoms, tol=1e-15):
        """What the energy depends on and has changed since the last call: exact, quicker than ASE's check."""
        if self.atoms is None:
            return all_changes
        pairs = {name: (getattr(atoms, name), getattr(self.atoms, name)) for name in ("positions", "numbers", "pbc")}
        pairs["cell"] = (atoms.cell.array, self.atoms.cell.array)
        return [name for name, (now, last) in pairs.items() if not np.array_equal(now, last)]

    def _graph_of(self, atoms) -> AtomicGraph:
        self._check(atoms)
        z, pos = atoms.numbers.astype(np.int64), np.array(atoms.positions, dtype=np.float64)
        if not np.isfinite(pos).all():
            raise InputError(f"the position of atom {int(np.argwhere(~np.isfinite(pos))[0, 0])} is not finite")
        return self._neighbors.graph(Structure(z, pos, atoms.cell.array.astype(np.float64), atoms.pbc.astype(bool)))

    def _check(self, atoms):
        """Refuse what the model cannot answer; again only when elements, cell or periodicity change."""
        key = (atoms.numbers.tobytes(), atoms.pbc.tobytes(), atoms.cell.array.tobytes())
        if key == self._checked:
            return
        check_elements(atoms.numbers, self._known)
        check_cell(atoms.cell.array, atoms.pbc)
        self._checked = key


def check_elements(numbers: np.ndarray, known: np.ndarray):
    """Raise InputError, naming the atoms, where an element is not among the known ones (atomic numbers)."""
    strange = ~np.isin(numbers, known)
    if not strange.any():
        return
    missing = ", ".join(chemical_symbols[z] for z in np.unique(numbers[strange]))
    knows = ", ".join(chemical_symbols[z] for z in known)
    first = int(np.argmax(strange))
    raise InputError(
        f"the structure holds {missing} (first at atom {first}), but the model was trained on {knows} only: "
        "take a model that knows the element, or train one on data that contain it"
    )


def check_cell(cell: np.ndarray, pbc: np.ndarray):
    """Raise InputError where the lattice vectors do not span the periodic directions."""
    vectors = cell[pbc]
    if len(vectors) and np.linalg.matrix_rank(vectors) < len(vectors):
        names = ", ".join(name for name, periodic in zip("abc", pbc, strict=True) if periodic)
        raise InputError(
            f"the structure is periodic along {names}, but its cell {cell.tolist()} does not span these: "
            "give it a cell (atoms.cell = ...), or make it a molecule (atoms.pbc = False)"
        )


def pick_device(device) -> torch.device:
    """The torch device of a name; "auto" takes a GPU if there is one. InputError for an unknown name."""
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError:
        raise InputError(f"device {device!r} is unknown: say auto, cpu, cuda or cuda:0") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {str(device)!r} asks for a GPU, but torch sees none here: say cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {str(device)!r} does not exist: torch sees {torch.cuda.device_count()} GPUs")
    return device


def pick_dtype(name) -> torch.dtype | None:
    if name is None or isinstance(name, torch.dtype):
        return name
    if name not in _DTYPES:
        raise InputError(f"dtype {name!r} is unknown: say float32 or float64")
    return _DTYPES[name]


def _ready(model, device, dtype):
    """The model on this device, in this precision, in eval mode, its weights frozen; objects are copied."""
    if isinstance(model, str | Path):
        model = models.load(model, device=device, dtype=dtype)
    else:
        model = copy.deepcopy(model).to(device=device, dtype=dtype or model.dtype)
    return model.eval().requires_grad_(False)

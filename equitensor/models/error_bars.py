"""Error bars of a potential, from the features of its atoms: in numpy, kept in the model file."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load as unpack
from safetensors.numpy import save_file

from equitensor.models.by_name import own_file
from equitensor.models.header import TABLES, read_header
from equitensor.whole_file import whole_file

PREFIX = "error_bars."  # of the tensors in a model file, and the entry of the header
NORMAL_90 = 1.6448536269514722  # standard deviations, on either side, that hold 90 % of a normal distribution
_ARRAYS = ("energy", "forces", "whitening", "means", "forces_scale", "novelty_scale")


@dataclass(frozen=True)
class ErrorBars:
    """Uncertainty of energies and forces, and distance from the training data, from the features f_i (d,) of the atoms.

    Last-layer precision of a readout (Bigi, Chong, Ceriotti and Grasselli, Mach. Learn.: Sci. Technol. 5, 045018,
    2024). X contains, for a structure, the sums of f_i over the atoms of each element and the numbers of these atoms; x
    are positions, sums run over the training data, and z is the element of atom i:

        energy_std   = a sqrt(X^T (sum_s [w X_s X_s^T + (dX_s/dx) (dX_s/dx)^T] + c^2)^-1 X)     eV
        forces_std_i = b_z sqrt(f_i^T (sum_j f_j f_j^T + c^2)^-1 f_i)          eV/Angstrom, of a component
        novelty_i    = sqrt((f_i - m_z)^T S^-1 (f_i - m_z)) / r_z

    The term with derivatives is what force labels say about the energy; w is the weight of energy labels relative to
    it. For many elements, X contains one sum over all atoms instead of one per element. S is the covariance of features
    within an element, shrunk towards a multiple of the identity; r_z makes the novelty 1 at a stated quantile of the
    training atoms of the element. The standard deviation of a force is proportional to that of the energy of its atom,
    so it needs no derivatives of features. a and b_z are such that +-1.645 standard deviations contain the stated share
    of errors on held-out data.

    Args:
        elements: (k,) atomic numbers in ascending order.
        energy: (m, m) with m = k d + k, or d + k: a matrix W such that W W^T is the first inverse above.
        forces, whitening: (d, d), W of the other two.
        means: (k, d).
        forces_scale, novelty_scale: (k,), b_z and 1 / r_z.
        about: how they were made, as JSON.
    """

    elements: np.ndarray
    energy: np.ndarray
    forces: np.ndarray
    whitening: np.ndarray
    means: np.ndarray
    forces_scale: np.ndarray
    novelty_scale: np.ndarray
    about: dict = field(default_factory=dict)
    _joined: np.ndarray = field(init=False, repr=False, compare=False)
    _origins: np.ndarray = field(init=False, repr=False, compare=False)
    _scales: np.ndarray = field(init=False, repr=False, compare=False)
    _by_element: bool = field(init=False, repr=False, compare=False)
    _last: tuple = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        k, d = len(self.elements), len(self.forces)
        m = len(self.energy)
        shapes = [(m, m), (d, d), (d, d), (k, d), (k,), (k,)]
        if [getattr(self, name).shape for name in _ARRAYS] != shapes or m not in (k * d + k, d + k):
            raise ValueError(
                f"{k} elements and {d} features ask for arrays of other shapes; "
                "`equitensor uncertainty MODEL TRAIN --remove` takes them out"
            )
        if (
            not all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS[:-1])
            or np.isnan(self.novelty_scale).any()
        ):
            raise ValueError("they have values that are not finite")
        of_means = self.means @ self.whitening
        joined = np.concatenate([self.forces, self.whitening], axis=1)
        object.__setattr__(self, "_joined", np.ascontiguousarray(joined))
        object.__setattr__(self, "_origins", np.concatenate([np.zeros_like(of_means), of_means], axis=1))
        object.__setattr__(self, "_scales", np.stack([self.forces_scale, self.novelty_scale], axis=1))
        object.__setattr__(self, "_by_element", m > k + d)
        object.__setattr__(self, "_last", (None, None))

    def of(self, numbers: np.ndarray, features: np.ndarray) -> dict:
        """energy_std, forces_std (n,) and novelty (n,) of a structure with atomic numbers (n,) and features (n, d)."""
        of_element, origins, scales = self._of_atoms(numbers)
        rows = features @ self._joined
        rows -= origins
        rows = rows.reshape(len(numbers), 2, -1)
        lengths = np.sqrt(np.einsum("nkd,nkd->nk", rows, rows))
        lengths *= scales
        total = sums_of(of_element, features, self._by_element) @ self.energy
        return {"energy_std": math.sqrt(total @ total), "forces_std": lengths[:, 0], "novelty": lengths[:, 1]}

    def _of_atoms(self, numbers: np.ndarray) -> tuple:
        """What depends on the elements only, which seldom change from call to call."""
        key, last = numbers.tobytes(), self._last
        if last[0] != key:
            species = self.elements.searchsorted(numbers)
            kept = (of_each_element(species, len(self.elements)), self._origins[species], self._scales[species])
            last = (key, kept)
            object.__setattr__(self, "_last", last)
        return last[1]

    def scaled(self, energy: float, forces: np.ndarray, **about: Any) -> "ErrorBars":
        """A copy with standard deviations multiplied by `energy` and, for each element, `forces` (k,)."""
        factors = {"energy": self.energy * energy, "forces_scale": self.forces_scale * forces}
        return replace(self, about=self.about | about, **factors)

    def tensors(self) -> dict[str, np.ndarray]:
        """What the model file stores next to the weights."""
        return {PREFIX + name: np.ascontiguousarray(getattr(self, name), dtype=np.float64) for name in _ARRAYS}

    def entry(self, weights: Mapping[str, np.ndarray]) -> dict:
        """What the header of the model file stores; `weights` are those with which the features were computed."""
        return self.about | {"weights": digest(weights)}


def of_each_element(species: np.ndarray, count: int) -> np.ndarray:
    """(count, n): 1 where atom i is of element k; species (n,) the index of each atom's element."""
    return (species == np.arange(count)[:, None]).astype(np.float64)


def sums_of(of_element: np.ndarray, features: np.ndarray, by_element: bool) -> np.ndarray:
    """X of a structure: sums of features (n, d) by element (k, n), or of all atoms, and how many atoms each has."""
    sums = of_element @ features if by_element else features.sum(axis=0)
    return np.concatenate([sums.ravel(), of_element.sum(axis=1)])


def of_tensors(tensors: Mapping[str, np.ndarray], header: dict) -> ErrorBars | None:
    """The error bars among the tensors of a model file, None where it has none."""
    entry = header.get("error_bars")
    if entry is None:
        return None
    elements = np.array(header["elements"], dtype=np.int64)
    energy, forces, whitening, means, forces_scale, novelty_scale = (tensors[PREFIX + name] for name in _ARRAYS)
    return ErrorBars(elements, energy, forces, whitening, means, forces_scale, novelty_scale, entry)


def of_bytes(packed: bytes, header: dict) -> ErrorBars | None:
    """The same of the bytes of a model file."""
    return None if header.get("error_bars") is None else of_tensors(unpack(packed), header)


def write_error_bars(path: str | Path, bars: ErrorBars | None) -> None:
    """Write error bars into a model file, or remove them (None), without changing anything else in it."""
    path = own_file(path)
    header = read_header(path)
    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith(PREFIX)}  # noqa: SIM118
    header.pop("error_bars", None)
    if bars is not None:
        header["error_bars"] = bars.entry(tensors)
        tensors |= bars.tensors()
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata={"equitensor": json.dumps(header)})


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Of the weights of a model: error bars are those of one set of weights only."""
    sha256 = hashlib.sha256()
    for name in sorted(name for name in weights if not name.startswith((PREFIX, TABLES))):
        sha256.update(name.encode())
        sha256.update(np.ascontiguousarray(weights[name], dtype=np.float64).tobytes())
    return sha256.hexdigest()

"""Which of the names in a file hold energy, forces and stress, and how they become ours."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from equitensor.data import units
from equitensor.errors import InputError

# In order of preference. References that are named as such come first, because a plain `energy` beside them
# may be what some potential predicted; free_energy comes last, because it often stands beside `energy`.
ENERGY_KEYS = (
    *("REF_energy", "ref_energy", "dft_energy", "DFT_energy", "energy_dft", "energy_ref"),
    *("energy", "Energy", "total_energy", "TotEnergy", "E", "free_energy"),
)
FORCES_KEYS = (
    *(
        "REF_forces",
        "ref_forces",
        "dft_forces",
        "DFT_forces",
        "dft_force",
        "REF_force",
        "forces_dft",
        "forces_ref",
    ),
    *("forces", "Forces", "force", "Force"),
)
STRESS_KEYS = (
    *("REF_stress", "ref_stress", "dft_stress", "DFT_stress", "stress", "Stress"),
    *("REF_virials", "REF_virial", "ref_virial", "dft_virial", "DFT_virial", "virial", "virials", "Virial"),
)


@dataclass
class LabelReader:
    """Picks energy, forces and stress out of a frame's values and converts them to eV and Angstrom.

    A key that is None is looked for among the usual names, a key that is given must exist; "none" reads no
    such label. Forces default to energy_unit/length_unit, stress to energy_unit/length_unit^3. Names with
    "virial" are virials (stress = -virial/V, in energy_unit), names with "grad" gradients (forces =
    -gradient).
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    energy_unit: str = "eV"
    length_unit: str = "Angstrom"
    forces_unit: str | None = None
    stress_unit: str | None = None
    used: Counter = field(default_factory=Counter)
    seen: dict = field(default_factory=dict)

    def __post_init__(self):
        self.length = units.length_factor(self.length_unit)
        self._energy = units.energy_factor(self.energy_unit)
        self._forces = units.forces_factor(self.forces_unit) if self.forces_unit else self._energy / self.length
        self._stress = units.stress_factor(self.stress_unit) if self.stress_unit else self._energy / self.length**3
        self._virial = self._energy

    def read(self, values: dict, n: int, volume: float, source: str) -> dict:
        """energy, forces (n, 3), stress (3, 3), those that are there. InputError with source and key."""
        for name, value in values.items():
            self.seen.setdefault(name, np.shape(value))
        labels = {}
        if key := self._find("energy", self.energy_key, ENERGY_KEYS, values):
            labels["energy"] = float(self._array(values[key], (), key, source)) * self._energy
        if key := self._find("forces", self.forces_key, FORCES_KEYS, values):
            sign = -1.0 if "grad" in key.lower() else 1.0
            labels["forces"] = self._array(values[key], (n, 3), key, source) * (sign * self._forces)
        if key := self._find("stress", self.stress_key, STRESS_KEYS, values):
            stress = self._tensor(values[key], key, source, volume)
            if stress is not None:
                labels["stress"] = stress
        return labels

    def check_found(self, path):
        """Raises InputError where a key that was given is in no frame, with the keys that are there."""
        for label in ("energy", "forces", "stress"):
            key = getattr(self, f"{label}_key")
            if key and key.lower() != "none" and not self.used[label, key]:
                raise InputError(f"{path}: {label}_key: no frame has {key!r}; the keys are {self.describe_keys()}")

    def describe_keys(self) -> str:
        """The names seen in the file, those of per-atom columns with their width."""
        shapes = {name: f" {shape}" if len(shape) else "" for name, shape in self.seen.items()}
        return ", ".join(f"{name}{shape}" for name, shape in sorted(shapes.items())) or "none at all"

    def _find(self, label, named, candidates, values):
        if named and named.lower() == "none":
            return None
        for key in (named,) if named else candidates:
            if values.get(key) is not None:
                self.used[label, key] += 1
                return key
        return None

    def _array(self, value, shape, key, source):
        try:
            array = np.array(value, dtype=np.float64, order="C")
        except (ValueError, TypeError):
            raise InputError(f"{source}: {key} = {value!r} is not a number") from None
        if array.size != int(np.prod(shape)):
            raise InputError(f"{source}: {key} has shape {array.shape}, expected {shape or 'one number'}")
        return array.reshape(shape)

    def _tensor(self, value, key, source, volume):
        """The stress; None without periodicity in three directions, where a stress has no meaning."""
        if not volume:
            return None
        array = np.asarray(value, dtype=np.float64)
        if array.shape == (6,):
            xx, yy, zz, yz, xz, xy = array
            array = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        array = self._array(array, (3, 3), key, source)
        if np.abs(array - array.T).max() > 0.1 * np.abs(array).max():
            raise InputError(f"{source}: {key} is not a symmetric 3x3 tensor: {array.tolist()}")
        factor = -self._virial / volume if "virial" in key.lower() else self._stress
        return 0.5 * (array + array.T) * factor

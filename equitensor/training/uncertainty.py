"""Error bars of a trained potential: a pass over its training data, one over held-out data; nothing is trained."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from scipy.linalg import block_diag

from equitensor.data import Snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, FORCES
from equitensor.models.error_bars import ErrorBars, of_each_element, sums_of
from equitensor.training.calibration import COVERAGE, Calibration, conformal_factor
from equitensor.training.displacements import Displacements
from equitensor.training.evaluation import with_known_elements

QUANTILE = 0.99  # of the training atoms of an element, where novelty is 1
PRECISION_SHRINKAGE = {"energy": 1e-8, "forces": 1e-6}  # c^2 over the mean of the diagonal
COVARIANCE_SHRINKAGE = 1e-3  # weight of the multiple of one in the covariance of features, over its mean diagonal
WEIGHTS = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)  # 1/Angstrom^2, of energies beside forces
USUAL_WEIGHT = 100.0
_MOST_SUMS = 512  # where elements times features are more, sums are over all atoms
_ATOMS_KEPT = 20_000  # of an element, drawn at random, by which the quantile is found
_FEWEST = 100  # force components of an element, from which it has a factor of its own
_FEWEST_ENERGIES = 30  # from which a weight is chosen


def fit_error_bars(
    engine, train: Snapshots, held_out: Snapshots | None = None, progress: Callable[[], None] | None = None
) -> ErrorBars:
    """Error bars whose standard deviations are right up to a factor, from the data that the model was trained on.

    engine: what computes the model, of `equitensor.interfaces`. Of `WEIGHTS` the one that makes the errors of held_out
    energies likeliest is taken, whatever their scale. Structures with unknown elements are left out. Raises InputError
    where nothing is left, or features are not finite.
    """
    sums = _Sums(np.asarray(engine.elements, dtype=np.int64))
    known = _known(engine, train)
    displacements = Displacements(len(known))
    for i in known:
        structure = train[int(i)]
        features = engine.descriptors(structure)
        if not np.isfinite(features).all():
            raise InputError(f"{structure.source}: the model's features are not finite there")
        sums.add(structure.z, features)
        if FORCES.is_here(structure):
            for change in displacements.of_features(engine, structure):
                sums.add_change(structure.z, change)
        if progress:
            progress()
    errors = [] if held_out is None else _energy_errors(engine, held_out, sums)
    weight = (
        sums.likeliest(*map(np.array, zip(*errors, strict=True))) if len(errors) >= _FEWEST_ENERGIES else USUAL_WEIGHT
    )
    return sums.error_bars(weight)


def _energy_errors(engine, data: Snapshots, sums) -> list[tuple[np.ndarray, float]]:
    """X and the error of the energy of each structure that has one."""
    computed = ((structure, out) for structure, out in _computed(engine, data) if ENERGY.is_here(structure))
    return [(sums.of(structure.z, out["features"]), out["energy"] - structure.energy) for structure, out in computed]


def calibrate(bars: ErrorBars, engine, data: Snapshots, progress: Callable[[], None] | None = None, **about):
    """The error bars with standard deviations such that +-1.645 of them hold 90 % of the errors of data that the model
    has not seen (split conformal prediction: Vovk, Gammerman and Shafer 2005), forces by element.

    Labels that the data do not have keep their factor and are not called calibrated. Raises InputError where there are
    neither energies nor forces, or too few.
    """
    calibration = Calibration()
    for structure, out in _computed(engine, data, progress):
        calibration.add(structure, out | bars.of(structure.z, out["features"]))
    energy, forces, told = _factors(calibration, bars.elements, data.name)
    return bars.scaled(energy, forces, calibration=told | about)


def calibrate_committee(bars: ErrorBars, committee, data: Snapshots) -> ErrorBars:
    """The error bars of the first member with the factors of a committee beside them, found in the same way."""
    committee.error_bars, calibration = bars, Calibration()
    for structure, out in _computed(committee, data):
        calibration.add(structure, out)
    energy, forces, told = _factors(calibration, bars.elements, data.name)
    entry = {"models": committee.digests, "energy": energy, "forces": forces.tolist(), "calibration": told}
    return replace(bars, about=bars.about | {"committee": entry})


def _factors(calibration: Calibration, atomic_numbers: np.ndarray, name: str) -> tuple[float, np.ndarray, dict]:
    """Those of energies and, by element, of forces; and from how many of each."""
    of_forces, elements = calibration.forces, calibration.elements
    if not calibration.structures and not len(of_forces):
        raise InputError(f"{name}: no energies and no forces to calibrate error bars with")
    energy, forces = 1.0, np.ones(len(atomic_numbers))
    told = {"structures": calibration.count, "coverage": COVERAGE, "energy": None, "forces": None}
    if calibration.structures:
        energy = conformal_factor(calibration.energies, what=f"{name}: energies")
        told["energy"] = calibration.structures
    if len(of_forces):
        forces[:] = conformal_factor(of_forces, what=f"{name}: forces")
        told["forces"] = len(of_forces)
        for k, z in enumerate(atomic_numbers):
            of_element = of_forces[elements == z]
            if len(of_element) >= _FEWEST:
                forces[k] = conformal_factor(of_element)
    return energy, forces, told


def _known(engine, snapshots) -> np.ndarray:
    return with_known_elements([int(z) for z in engine.elements], snapshots, np.arange(len(snapshots)))[0]


def _computed(engine, snapshots, progress=None) -> Iterator[tuple[Structure, dict]]:
    for i in _known(engine, snapshots):
        structure = snapshots[int(i)]
        yield structure, engine.compute(structure, stress=False, features=True)
        if progress:
            progress()


class _Sums:
    """Moments of features over training data, of structures, their derivatives, atoms and the atoms of each element."""

    def __init__(self, elements: np.ndarray):
        self.elements, self.structures = elements, 0
        self.energy = self.change = self.square = self.total = np.zeros(0)  # of the first structure's shapes
        self.count = np.zeros(len(elements), dtype=np.int64)
        self.samples = [_Sample(_ATOMS_KEPT, k) for k in range(len(elements))]

    def of(self, numbers: np.ndarray, features: np.ndarray) -> np.ndarray:
        """X of a structure."""
        k = len(self.elements)
        by_element = k * features.shape[1] <= _MOST_SUMS
        return sums_of(of_each_element(self.elements.searchsorted(numbers), k), features, by_element)

    def add(self, numbers: np.ndarray, features: np.ndarray) -> None:
        whole = self.of(numbers, features)
        if self.structures == 0:
            d, m = features.shape[1], len(whole)
            self.energy, self.change = np.zeros((m, m)), np.zeros((m, m))
            self.square, self.total = np.zeros((len(self.elements), d, d)), np.zeros((len(self.elements), d))
        self.energy += np.outer(whole, whole)
        self.structures += 1
        for k in np.unique(np.searchsorted(self.elements, numbers)):
            own = features[numbers == self.elements[k]]
            self.square[k] += own.T @ own
            self.total[k] += own.sum(axis=0)
            self.count[k] += len(own)
            self.samples[k].add(own)

    def add_change(self, numbers: np.ndarray, features: np.ndarray) -> None:
        """A derivative of the features along a displacement: the numbers of atoms stay what they are."""
        change = self.of(numbers, features)
        change[-len(self.elements) :] = 0
        self.change += np.outer(change, change)

    @property
    def means(self) -> np.ndarray:
        return self.total / np.maximum(self.count, 1)[:, None]

    def energy_root(self, weight: float) -> np.ndarray:
        """W of energies. It is shrunk where features are as usual for the element, and for the numbers of atoms as if
        an atom of each element had been learned: so E0s count as known, but not better than that."""
        m, k = len(self.energy), len(self.elements)
        usual = np.eye(m)  # takes the means off the sums
        usual[:-k, -k:] = -block_diag(*self.means[:, :, None]) if m > k + self.means.shape[1] else -self.means.T
        precision = usual @ (weight * self.energy + self.change) @ usual.T
        floor = np.full(m, PRECISION_SHRINKAGE["energy"] * np.trace(precision[:-k, :-k]) / (m - k))
        floor[-k:] = weight
        return usual.T @ _root_of_inverse(precision + np.diag(floor))

    def likeliest(self, sums: np.ndarray, errors: np.ndarray) -> float:
        """The weight under which errors (s,) of structures with X (s, m) are likeliest, normal with a common factor."""
        deviance = {}
        for weight in WEIGHTS:
            variance = ((sums @ self.energy_root(weight)) ** 2).sum(axis=1)
            deviance[weight] = np.log(np.mean(errors**2 / variance)) + np.mean(np.log(variance))
        return min(deviance, key=deviance.__getitem__)

    def error_bars(self, weight: float) -> ErrorBars:
        means, square = self.means, self.square.sum(axis=0)
        covariance = (square - np.einsum("k,ki,kj->ij", self.count, means, means)) / self.count.sum()
        whitening = _inverse_root(covariance, COVARIANCE_SHRINKAGE)
        radii = np.zeros(len(self.elements))  # novelty is infinite where an element has not been seen
        for k, sample in enumerate(self.samples):
            if self.count[k]:
                lengths = np.linalg.norm((sample.rows - means[k]) @ whitening, axis=1)
                radii[k] = max(np.quantile(lengths, QUANTILE), np.sqrt(len(means[k])) * 1e-6)
        about = {
            "training_structures": self.structures,
            "training_atoms": int(self.count.sum()),
            "novelty_quantile": QUANTILE,
            "energy_weight": weight,
            "calibration": None,
        }
        with np.errstate(divide="ignore"):
            novelty_scale = 1 / radii
        return ErrorBars(
            self.elements,
            self.energy_root(weight),
            _inverse_root(square, PRECISION_SHRINKAGE["forces"]),
            whitening,
            means,
            np.ones(len(self.elements)),
            novelty_scale,
            about,
        )


class _Sample:
    """At most `most` rows of all that were added, drawn at random: those with the smallest of random keys."""

    def __init__(self, most: int, seed: int):
        self.most, self.random = most, np.random.default_rng(seed)
        self.parts, self.keys, self.held = [], [], 0

    def add(self, rows: np.ndarray) -> None:
        self.parts.append(rows.astype(np.float32))
        self.keys.append(self.random.random(len(rows)))
        self.held += len(rows)
        if self.held > 2 * self.most:
            self._thin()

    def _thin(self) -> None:
        keys, rows = np.concatenate(self.keys), np.concatenate(self.parts)
        kept = np.sort(np.argsort(keys)[: self.most])
        self.keys, self.parts, self.held = [keys[kept]], [rows[kept]], len(kept)

    @property
    def rows(self) -> np.ndarray:
        self._thin()
        return self.parts[0].astype(np.float64)


def _inverse_root(matrix: np.ndarray, shrinkage: float) -> np.ndarray:
    """W with W W^T = (matrix + shrinkage x mean of its diagonal)^-1."""
    return _root_of_inverse(matrix + shrinkage * np.trace(matrix) / len(matrix) * np.eye(len(matrix)))


def _root_of_inverse(matrix: np.ndarray) -> np.ndarray:
    """W with W W^T = matrix^-1, of a positive matrix; where it is zero, W is large and finite."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors / np.sqrt(np.maximum(values, np.finfo(np.float64).eps * max(values[-1], 1e-280)))

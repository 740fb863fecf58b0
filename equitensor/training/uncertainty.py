"""Error bars of a trained potential: one pass over its training data, one over held-out data; nothing is trained."""

from collections.abc import Callable, Iterator

import numpy as np

from equitensor.data import Snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.models.error_bars import ErrorBars
from equitensor.training.calibration import COVERAGE, Calibration, conformal_factor
from equitensor.training.evaluation import with_known_elements

QUANTILE = 0.99  # of the training atoms of an element, where novelty is 1
PRECISION_SHRINKAGE = 1e-6  # c^2 over the mean of the diagonal
COVARIANCE_SHRINKAGE = 1e-3  # weight of the multiple of one in the covariance of features, over its mean diagonal
_ATOMS_KEPT = 20_000  # of an element, drawn at random, by which the quantile is found
_FEWEST = 100  # force components of an element, from which it has a factor of its own


def fit_error_bars(engine, train: Snapshots, progress: Callable[[], None] | None = None) -> ErrorBars:
    """Error bars whose standard deviations are right up to a factor, from the data that the model was trained on.

    engine: what computes the model, of `equitensor.interfaces`. Structures with unknown elements are left out. Raises
    InputError where nothing is left, or features are not finite.
    """
    elements = np.asarray(engine.elements, dtype=np.int64)
    sums = _Sums(elements)
    for structure, out in _computed(engine, train, progress):
        if not np.isfinite(out["features"]).all():
            raise InputError(f"{structure.source}: the model's features are not finite there")
        sums.add(structure.z, out["features"])
    return sums.error_bars()


def calibrate(bars: ErrorBars, engine, data: Snapshots, progress: Callable[[], None] | None = None, **about):
    """The error bars with standard deviations such that +-1.645 of them hold 90 % of the errors of data that the model
    has not seen (split conformal prediction: Vovk, Gammerman and Shafer 2005), forces by element.

    Labels that the data do not have keep their factor and are not called calibrated. Raises InputError where there are
    neither energies nor forces, or too few.
    """
    found = Calibration()
    for structure, out in _computed(engine, data, progress):
        found.add(structure, out | bars.of(structure.z, out["features"]))
    of_forces, elements = found.forces, found.elements
    if not found.structures and not len(of_forces):
        raise InputError(f"{data.name}: no energies and no forces to calibrate error bars with")
    energy, forces = 1.0, np.ones(len(bars.elements))
    told = {"structures": found.count, "coverage": COVERAGE, "energy": None, "forces": None, **about}
    if found.structures:
        energy = conformal_factor(found.energies, what=f"{data.name}: energies")
        told["energy"] = found.structures
    if len(of_forces):
        forces[:] = conformal_factor(of_forces, what=f"{data.name}: forces")
        told["forces"] = len(of_forces)
        for k, z in enumerate(bars.elements):
            of_element = of_forces[elements == z]
            if len(of_element) >= _FEWEST:
                forces[k] = conformal_factor(of_element)
    return bars.scaled(energy, forces, calibration=told)


def _computed(engine, snapshots, progress) -> Iterator[tuple[Structure, dict]]:
    indices, _ = with_known_elements([int(z) for z in engine.elements], snapshots, np.arange(len(snapshots)))
    for i in indices:
        structure = snapshots[int(i)]
        yield structure, engine.compute(structure, stress=False, features=True)
        if progress:
            progress()


class _Sums:
    """Moments of features over training data, of structures, atoms and the atoms of each element."""

    def __init__(self, elements: np.ndarray):
        self.elements, self.structures = elements, 0
        self.energy = self.square = self.total = None
        self.count = np.zeros(len(elements), dtype=np.int64)
        self.samples = [_Sample(_ATOMS_KEPT, k) for k in range(len(elements))]

    def add(self, numbers: np.ndarray, features: np.ndarray) -> None:
        if self.energy is None:
            d = features.shape[1]
            self.energy, self.square = np.zeros((d, d)), np.zeros((len(self.elements), d, d))
            self.total = np.zeros((len(self.elements), d))
        whole = features.sum(axis=0)
        self.energy += np.outer(whole, whole)
        self.structures += 1
        for k in np.unique(np.searchsorted(self.elements, numbers)):
            own = features[numbers == self.elements[k]]
            self.square[k] += own.T @ own
            self.total[k] += own.sum(axis=0)
            self.count[k] += len(own)
            self.samples[k].add(own)

    def error_bars(self) -> ErrorBars:
        seen = np.maximum(self.count, 1)[:, None]
        means = self.total / seen
        square = self.square.sum(axis=0)
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
            "calibration": None,
        }
        with np.errstate(divide="ignore"):
            novelty_scale = 1 / radii
        return ErrorBars(
            self.elements,
            _inverse_root(self.energy, PRECISION_SHRINKAGE),
            _inverse_root(square, PRECISION_SHRINKAGE),
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
    values, vectors = np.linalg.eigh(matrix)
    floor = max(shrinkage * np.trace(matrix) / len(matrix), np.finfo(np.float64).tiny)
    return vectors / np.sqrt(np.maximum(values, 0.0) + floor)

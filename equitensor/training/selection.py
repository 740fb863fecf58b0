"""Which structures of a pool to label next: those of high uncertainty that do not tell the same."""

from dataclasses import dataclass

import numpy as np

from equitensor.data import Snapshots
from equitensor.errors import InputError
from equitensor.models.error_bars import ErrorBars
from equitensor.training.evaluation import with_known_elements


@dataclass(frozen=True)
class Selected:
    """A structure of the pool: its index, its energy_std (eV), largest forces_std (eV/Angstrom) and largest novelty
    as they are now, and gain, by how many units of variance its atoms were uncertain when it was chosen."""

    index: int
    energy_std: float
    forces_std: float
    novelty: float
    gain: float


def select(bars: ErrorBars, engine, pool: Snapshots, count: int) -> list[Selected]:
    """`count` structures, each the one whose atoms are most uncertain in all after those before it have been learned.

    The uncertainty of an atom is f^T P f, P the inverse precision of forces_std in units in which it is 1 on average
    over the atoms of the training data. A chosen structure with features X (n, d) is learned by
    P <- (P^-1 + X^T X)^-1, after which its atoms, and those like them, are about as certain as training atoms:
    diversity follows. The gain of a structure is log det(1 + X P X^T), that of its information (greedy D-optimal
    design). Raises InputError where the pool has fewer structures with elements that the model knows.
    """
    indices, _ = with_known_elements([int(z) for z in engine.elements], pool, np.arange(len(pool)))
    if not 0 < count <= len(indices):
        raise InputError(f"{pool.name}: {count} are asked for; it has {len(indices)} that the model can take")
    per_atom = np.sqrt(bars.about["training_atoms"] / len(bars.forces))
    rows, now = [], []
    for i in indices:
        structure = pool[int(i)]
        features = engine.compute(structure, stress=False, features=True)["features"]
        error_bars = bars.of(structure.z, features)
        now.append(
            (error_bars["energy_std"], float(error_bars["forces_std"].max()), float(error_bars["novelty"].max()))
        )
        rows.append(per_atom * features @ bars.forces)  # P is one in these coordinates
    chosen = _greedy(rows, count)
    return [Selected(int(indices[k]), *now[k], gain) for k, gain in chosen]


def _greedy(rows: list[np.ndarray], count: int) -> list[tuple[int, float]]:
    """Gains only fall as more is learned (they are submodular), so most need not be computed again in each round."""
    precision = np.eye(rows[0].shape[1])
    bounds = np.array([_gain(each, precision) for each in rows])
    chosen = []
    for _ in range(count):
        while True:
            k = int(np.argmax(bounds))
            gain = _gain(rows[k], precision)
            if gain >= bounds[k] * (1 - 1e-12):
                break
            bounds[k] = gain
        chosen.append((k, gain))
        bounds[k] = -np.inf
        x = rows[k]
        half = x @ precision
        precision = precision - half.T @ np.linalg.solve(np.eye(len(x)) + half @ x.T, half)
    return chosen


def _gain(x: np.ndarray, precision: np.ndarray) -> float:
    """log det(1 + X P X^T), in the smaller of the two forms."""
    small = x @ precision @ x.T if len(x) <= x.shape[1] else precision @ x.T @ x
    return float(np.linalg.slogdet(np.eye(len(small)) + small)[1])

"""Other standard deviations of the energy than the one that is used: do they rank errors better, do intervals hold?

    .venv/bin/python benchmarks/energy_error_bars.py DATA --run runs/energy_error_bars

Acetylacetone as in uncertainty.py: 400 frames at 300 K for training, 100 for whatever is fitted, the factor included;
asked at 300 and 600 K. Each seed is a training of its own; where the run folder holds its model, nothing is trained.
"""

import argparse
from pathlib import Path

import numpy as np
from environment import RESULTS, environment, write
from scipy.stats import spearmanr
from uncertainty import TESTS, command, split

from equitensor.data import open_snapshots
from equitensor.interfaces.backend import open_engine
from equitensor.models.error_bars import NORMAL_90, of_each_element, sums_of
from equitensor.training.calibration import conformal_factor
from equitensor.training.displacements import Displacements
from equitensor.training.uncertainty import PRECISION_SHRINKAGE, WEIGHTS

EPOCHS = 140
USED, LESS = PRECISION_SHRINKAGE["energy"], 1e-12
COMPONENTS = 20  # of each element, whose squares and products are features
POWERS = np.linspace(0.2, 4, 77)


class Part:
    """A file of structures as a model sees it: sums of features by element X (b, m), errors of energies (b,), features
    of the atoms (b, n, d), of_element (k, n)."""

    def __init__(self, engine, path):
        self.engine, snapshots = engine, open_snapshots(path)
        self.structures = [structure for structure in snapshots if len(structure) > 1]
        computed = [engine.compute(each, stress=False, features=True) for each in self.structures]
        self.errors = np.array([out["energy"] - s.energy for out, s in zip(computed, self.structures, strict=True)])
        self.features = np.array([out["features"] for out in computed])
        species = np.searchsorted(engine.elements, self.structures[0].z)
        self.of_element = of_each_element(species, len(engine.elements))
        self.sums = np.array([sums_of(self.of_element, each, True) for each in self.features])

    def changes(self) -> np.ndarray:
        """(b, r, n, d) of the features, along random displacements."""
        displacements = Displacements(len(self.structures))
        return np.array([list(displacements.of_features(self.engine, each)) for each in self.structures])


def root_of_inverse(matrix, shrinkage) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix + shrinkage * np.trace(matrix) / len(matrix) * np.eye(len(matrix)))
    return vectors / np.sqrt(np.maximum(values, np.finfo(float).eps * values[-1]))


def deviance(errors, variances) -> float:
    """-2 log likelihood of normal errors of these variances times the likeliest factor, per structure."""
    return np.log(np.mean(errors**2 / variances)) + np.mean(np.log(variances))


def precision(parts, rows, change, shrinkage) -> dict:
    """Standard deviations of every part from its rows (b, m), the weight of energies chosen by the held-out errors."""
    of_energies, of_forces, best = rows["train"].T @ rows["train"], change.T @ change, (np.inf, None)
    for weight in WEIGHTS:
        root = root_of_inverse(weight * of_energies + of_forces, shrinkage)
        deviations = {name: np.linalg.norm(each @ root, axis=1) for name, each in rows.items()}
        best = min(
            best, (deviance(parts["valid"].errors, deviations["valid"] ** 2), deviations), key=lambda each: each[0]
        )
    return best[1]


def with_squares(parts, changes, change) -> tuple[dict, np.ndarray]:
    """X, beside it sums of products of principal components of the features of each element; their changes."""
    train, products, changed = parts["train"], {name: [each.sums] for name, each in parts.items()}, [change]
    i, j = np.triu_indices(COMPONENTS)
    for mask in train.of_element > 0:
        rows = train.features[:, mask].reshape(-1, train.features.shape[-1])
        mean, (_, values, vectors) = rows.mean(axis=0), np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
        base = vectors[:COMPONENTS].T / values[:COMPONENTS] * np.sqrt(len(rows))
        for name, part in parts.items():
            y = (part.features[:, mask] - mean) @ base
            products[name].append((y[..., i] * y[..., j]).sum(axis=1))
        y, dy = ((train.features[:, mask] - mean) @ base)[:, None], changes[:, :, mask] @ base
        changed.append((y[..., i] * dy[..., j] + dy[..., i] * y[..., j]).sum(axis=2).reshape(len(change), -1))
    scales = [np.sqrt(np.mean(each**2)) for each in changed]
    rows = {
        name: np.concatenate([p / s for p, s in zip(each, scales, strict=True)], 1) for name, each in products.items()
    }
    return rows, np.concatenate([c / s for c, s in zip(changed, scales, strict=True)], 1)


def estimates(parts) -> tuple[dict, float]:
    """Name -> part -> standard deviations up to a factor; the power that the held-out errors choose."""
    changes = parts["train"].changes()
    of_element = parts["train"].of_element
    change = np.concatenate([(of_element @ changes).reshape(*changes.shape[:2], -1)], -1)
    change = np.concatenate([change, np.zeros((*change.shape[:2], len(of_element)))], -1)
    change = change.reshape(-1, change.shape[-1])
    rows = {name: part.sums for name, part in parts.items()}
    atoms = parts["train"].features.reshape(-1, parts["train"].features.shape[-1])
    of_atoms = root_of_inverse(atoms.T @ atoms, PRECISION_SHRINKAGE["forces"])
    mean = rows["train"].mean(axis=0)
    distance = root_of_inverse(np.cov(rows["train"].T, bias=True), 1e-3)
    used, less = (precision(parts, rows, change, shrinkage) for shrinkage in (USED, LESS))
    by_method = {
        "used": used,
        "less_regularised": less,
        "times_root_mean_square_forces_std": {
            k: used[k] * np.sqrt(((p.features @ of_atoms) ** 2).sum(axis=-1).mean(axis=1)) for k, p in parts.items()
        },
        "times_distance": {k: used[k] * np.linalg.norm((x - mean) @ distance, axis=1) for k, x in rows.items()},
        "with_squares": precision(parts, *with_squares(parts, changes, change), LESS),
    }
    errors = parts["valid"].errors
    power = min(POWERS, key=lambda p: deviance(errors, less["valid"] ** (2 * p)))
    return by_method | {"less_regularised_to_a_power": {k: less[k] ** power for k in less}}, round(float(power), 2)


def judged(parts, by_method) -> dict:
    """Rank correlation and the share that the calibrated 90 % intervals hold."""
    figures = {}
    for name, std in by_method.items():
        factor = conformal_factor(np.column_stack([np.abs(parts["valid"].errors), std["valid"]]))
        figures[name] = {}
        for test in TESTS:
            errors = np.abs(parts[test].errors)
            figures[name][test] = {
                "spearman": round(float(spearmanr(errors, std[test]).statistic), 3),
                "coverage_90": round(float(np.mean(errors <= NORMAL_90 * factor * std[test])), 3),
                "deviance": round(float(deviance(errors, std[test] ** 2)), 3),
            }
    return figures


def model_of(seed: int, options) -> Path:
    """Trained where it is not there."""
    folder = options.run
    split(options.data, folder)
    model = folder / str(seed) / "model.eqt"
    if not model.exists():
        config = folder / f"{seed}.yaml"
        config.write_text(
            f"data: {{train: {folder}/train.xyz, valid: {folder}/valid.xyz}}\n"
            f"train: {{max_epochs: {EPOCHS}, threads: 1, device: cpu}}\nseed: {seed}\noutput: {model.parent}\n"
        )
        command("train", config)
    return model


def main() -> None:
    """Train, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the acetylacetone files")
    parser.add_argument("--run", type=Path, default=Path("runs/energy_error_bars"), help="folder of the trainings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=RESULTS / "energy_error_bars.json")
    options = parser.parse_args()
    result = {"environment": environment("float32", epochs=EPOCHS), "seeds": {}}
    for seed in options.seeds:
        engine, _ = open_engine(model_of(seed, options), "cpu", None, skin=0.0, threads=1, error_bars=False)
        files = {name: options.run / f"{name}.xyz" for name in ("train", "valid")}
        files |= {name: options.data / f"test_MD_{name}.xyz" for name in TESTS}
        parts = {name: Part(engine, path) for name, path in files.items()}
        by_method, power = estimates(parts)
        rmse = {name: round(1000 * float(np.sqrt(np.mean(parts[name].errors ** 2))), 2) for name in TESTS}
        result["seeds"][seed] = {"energy_rmse_meV": rmse, "power": power, "estimates": judged(parts, by_method)}
        print(seed, rmse, power, *result["seeds"][seed]["estimates"].items(), sep="\n", flush=True)
    write(result, options.out)


if __name__ == "__main__":
    main()

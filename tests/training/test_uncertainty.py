"""Fitting and calibrating error bars, and choosing by them: properties, each with a twin that must fail it."""

import numpy as np
import pytest

from equitensor.data import Memory
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.models.error_bars import NORMAL_90
from equitensor.training import plots, uncertainty
from equitensor.training.calibration import Calibration, conformal_factor
from equitensor.training.displacements import Displacements
from equitensor.training.evaluation import Evaluation
from equitensor.training.selection import select
from equitensor.training.uncertainty import calibrate, fit_error_bars

D = 6


class Linear:
    """An engine whose features are kept with the structures, and whose energy is linear in them."""

    elements = np.array([1, 6, 8])

    def __init__(self, weights):
        self.weights = weights

    def compute(self, structure, stress, features=False):
        f = self.descriptors(structure)
        return {"energy": float(f.sum(axis=0) @ self.weights), "forces": np.zeros((len(structure), 3)), "features": f}

    def descriptors(self, structure):
        phase = structure.pos @ np.arange(1, 3 * D + 1).reshape(3, D) / 3
        return np.sin(phase) + structure.pos[:, :1]

    def changes(self, structure):
        """(3n, n, D) derivatives of the features with respect to each coordinate."""
        direction = np.arange(1, 3 * D + 1).reshape(3, D) / 3
        by_own = np.cos(structure.pos @ direction)[:, None] * direction + np.eye(3)[:, :1]  # (n, 3, D)
        out = np.zeros((len(structure), 3, len(structure), D))
        for i, rows in enumerate(by_own):
            out[i, :, i] = rows
        return out.reshape(-1, len(structure), D)


def structures(count, rng, engine, noise=0.1, numbers=(1, 6, 6, 1), width=1.0):
    made = []
    for i in range(count):
        pos = width * rng.normal(size=(len(numbers), 3))
        one = Structure(np.array(numbers), pos, np.zeros((3, 3)), np.zeros(3, bool), source=f"frame {i}")
        energy = engine.compute(one, False)["energy"] + noise * rng.standard_t(4)
        made.append(one.replace(energy=energy, forces=0.3 * rng.normal(size=pos.shape)))
    return made


@pytest.fixture
def engine():
    return Linear(np.random.default_rng(3).normal(size=D))


@pytest.fixture
def train(engine):
    return structures(200, np.random.default_rng(0), engine)


def features(engine, frames):
    return [engine.compute(frame, False)["features"] for frame in frames]


def sums(numbers, f, counts=True) -> np.ndarray:
    """X, element by element."""
    parts = [f[numbers == z].sum(axis=0) for z in Linear.elements]
    return np.concatenate([*parts, [counts * np.sum(numbers == z) for z in Linear.elements]])


def centred(train, f) -> list:
    """The same features less their mean in training, by element."""
    numbers, rows = np.concatenate([s.z for s in train]), np.concatenate(f)
    means = {z: rows[numbers == z].mean(axis=0) for z in numbers}
    return [each - [means[z] for z in s.z] for s, each in zip(train, f, strict=True)]


def energy_variances(engine, train, weight=100.0) -> np.ndarray:
    """X^T (...)^-1 X of the training structures by the formula: means taken off, all derivatives exact."""
    f = centred(train, features(engine, train))
    rows = np.array([sums(s.z, each) for s, each in zip(train, f, strict=True)])
    precision = weight * rows.T @ rows
    for s in train if train[0].forces is not None else ():
        for change in engine.changes(s):
            precision += np.outer(*2 * [sums(s.z, change, counts=False)])
    of_features = np.arange(len(precision)) < 3 * D
    floor = 1e-8 * np.trace(precision[:-3, :-3]) / (3 * D)
    return np.einsum(
        "si,ij,sj->s", rows, np.linalg.inv(precision + np.diag(np.where(of_features, floor, weight))), rows
    )


def by_error_bars(bars, engine, train) -> np.ndarray:
    each = zip(train, features(engine, train), strict=True)
    return np.array([bars.of(s.z, f)["energy_std"] for s, f in each]) ** 2


def test_the_precision_of_forces_is_the_sum_over_atoms(engine, train):
    bars = fit_error_bars(engine, Memory(train))
    atoms = np.concatenate(features(engine, train))
    exact = atoms.T @ atoms
    ridge = 1e-6 * np.trace(exact) / D * np.eye(D)
    np.testing.assert_allclose(bars.forces @ bars.forces.T, np.linalg.inv(exact + ridge), rtol=1e-8)
    assert not np.allclose(bars.forces @ bars.forces.T, np.linalg.inv(exact / 2 + ridge), rtol=1e-2)


def test_the_precision_of_energies_is_the_sum_over_structures(engine, train):
    bare = [each.replace(forces=None) for each in train]
    computed = by_error_bars(fit_error_bars(engine, Memory(bare)), engine, bare)
    np.testing.assert_allclose(computed, energy_variances(engine, bare), rtol=1e-6)
    backwards = by_error_bars(fit_error_bars(engine, Memory(bare[::-1])), engine, bare)
    np.testing.assert_allclose(backwards, computed, rtol=1e-6)


def test_labels_of_forces_narrow_the_error_bars_of_energies_as_their_derivatives_say(engine, train):
    """Random displacements in the place of all derivatives: right on average, and near it with 1600 of them."""
    computed = by_error_bars(fit_error_bars(engine, Memory(train)), engine, train)
    exact, without = (energy_variances(engine, each) for each in (train, [s.replace(forces=None) for s in train]))
    assert np.max(np.abs(computed / exact - 1)) < 0.1 < np.min(without / exact - 1)
    held = [s.replace(fixed=np.ones(len(s), bool)) for s in train]
    np.testing.assert_allclose(by_error_bars(fit_error_bars(engine, Memory(held)), engine, train), without, rtol=1e-6)


def test_with_many_structures_some_are_displaced_for_all(engine, train):
    few, many = Displacements(100), Displacements(100_000)
    assert (few.each, few.share, many.each) == (8, 1.0, 1)
    for each, tolerance in ((few, 0.1), (many, 0.25)):
        total = sum(np.sum(change**2) for _ in range(25) for s in train for change in each.of_features(engine, s))
        assert total == pytest.approx(25 * sum(np.sum(engine.changes(s) ** 2) for s in train), rel=tolerance)


def test_the_weight_of_energies_is_the_one_under_which_errors_are_likeliest(engine, train):
    rng = np.random.default_rng(13)
    held_out = structures(100, rng, engine, noise=0.0, width=2.0)
    for weight in (10.0, 3000.0):
        bars = fit_error_bars(engine, Memory(train))
        widths = np.sqrt(by_error_bars(_with_weight(engine, train, weight), engine, held_out))
        labels = [
            s.replace(energy=engine.compute(s, False)["energy"] + float(0.05 * width * rng.normal()))
            for s, width in zip(held_out, widths, strict=True)
        ]
        assert bars.about["energy_weight"] == 100.0
        assert fit_error_bars(engine, Memory(train), Memory(labels)).about["energy_weight"] == weight


def _with_weight(engine, train, weight):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uncertainty, "USUAL_WEIGHT", weight)
        return fit_error_bars(engine, Memory(train))


def test_with_many_elements_they_share_the_sum(engine, train, monkeypatch):
    monkeypatch.setattr(uncertainty, "_MOST_SUMS", 3 * D - 1)
    bars = fit_error_bars(engine, Memory(train))
    assert bars.energy.shape == (D + 3, D + 3)
    unusual = structures(50, np.random.default_rng(1), engine, width=3.0)
    assert np.median(by_error_bars(bars, engine, unusual)) > 3 * np.median(by_error_bars(bars, engine, train))


def test_more_data_of_the_same_kind_narrow_the_error_bars_as_the_square_root(engine, train):
    one, fourfold = fit_error_bars(engine, Memory(train)), fit_error_bars(engine, Memory(train * 4))
    numbers, f = train[0].z, features(engine, train)[0]
    np.testing.assert_allclose(one.of(numbers, f)["forces_std"], 2 * fourfold.of(numbers, f)["forces_std"], rtol=1e-6)
    # Energies also have an atom of each element that counts once, and displacements drawn at random.
    assert one.of(numbers, f)["energy_std"] == pytest.approx(2 * fourfold.of(numbers, f)["energy_std"], rel=5e-3)
    np.testing.assert_allclose(one.of(numbers, f)["novelty"], fourfold.of(numbers, f)["novelty"], rtol=0.02)


def test_they_are_the_standard_deviations_of_a_linear_fit(engine):
    """Least squares repeated with fresh noise scatters by sigma sqrt(X^T (sum X X^T)^-1 X)."""
    rng = np.random.default_rng(5)
    train = [each.replace(forces=None) for each in structures(100, rng, engine, noise=0.0)]
    far = structures(20, rng, engine, width=2.0)
    rows, targets = (np.array([sums(s.z, engine.descriptors(s)) for s in each]) for each in (train, far))
    noisy = 0.1 * rng.normal(size=(100, 2000))
    scatter = (targets @ np.linalg.lstsq(rows, noisy, rcond=1e-10)[0]).std(axis=1)
    stds = 0.1 * np.sqrt(100 * by_error_bars(fit_error_bars(engine, Memory(train)), engine, far))
    np.testing.assert_allclose(stds, scatter, rtol=0.06)  # of 2000 samples: four standard errors


def test_novelty_is_1_at_the_stated_quantile_of_each_element_and_infinite_for_an_unseen_one(engine, train):
    bars = fit_error_bars(engine, Memory(train))
    novelties = np.array([bars.of(s.z, f)["novelty"] for s, f in zip(train, features(engine, train), strict=True)])
    for own in (novelties[:, [0, 3]], novelties[:, [1, 2]]):
        assert np.mean(own > 1) == pytest.approx(0.01, abs=0.003)
    assert bars.of(np.array([8]), features(engine, train)[0][:1])["novelty"] == [np.inf]


def coverage(factor, errors, stds) -> float:
    return np.mean(errors <= NORMAL_90 * factor * stds)


def holds_what_it_says(factor_of) -> bool:
    """On fresh data of any distribution, on average over many calibrations, 90 % to within half a percent."""
    rng = np.random.default_rng(7)
    fractions = []
    for _ in range(400):
        stds = rng.lognormal(size=2 * 60)
        errors = np.abs(stds * rng.standard_t(2, size=120))
        factor = factor_of(np.column_stack([errors, stds])[:60])
        fractions.append(coverage(factor, errors[60:], stds[60:]))
    return abs(np.mean(fractions) - 54.9 / 61) < 0.006  # rank 55 of 60: between 90 and 90.2 %


def test_conformal_factors_hold_their_coverage_and_other_factors_do_not():
    assert holds_what_it_says(conformal_factor)
    assert not holds_what_it_says(lambda pairs: np.sqrt(np.mean((pairs[:, 0] / pairs[:, 1]) ** 2)))
    assert not holds_what_it_says(lambda pairs: conformal_factor(pairs, 0.88))


def test_a_factor_undoes_a_wrong_scale():
    rng = np.random.default_rng(8)
    pairs = np.abs(rng.normal(size=(100, 2))) + 0.1
    assert conformal_factor(pairs * [1, 7]) == pytest.approx(conformal_factor(pairs) / 7)
    assert conformal_factor(pairs * [3, 1]) == pytest.approx(conformal_factor(pairs) * 3)


def test_too_few_errors_are_refused():
    assert conformal_factor(np.ones((9, 2))) == pytest.approx(1 / NORMAL_90)
    with pytest.raises(InputError, match=r"valid: 8 are too few .* at least 9"):
        conformal_factor(np.ones((8, 2)), what="valid")


def test_calibrated_error_bars_hold_90_percent_of_new_errors(engine, train):
    raw = fit_error_bars(engine, Memory(train))
    rng = np.random.default_rng(9)
    held_out, fresh = structures(600, rng, engine), structures(600, rng, engine)
    bars = calibrate(raw, engine, Memory(held_out), source="here")
    seen = {}
    for name, each in (("raw", raw), ("calibrated", bars)):
        seen[name] = Calibration()
        for frame in fresh:
            out = engine.compute(frame, False)
            seen[name].add(frame, out | each.of(frame.z, out["features"]))
    metrics = seen["calibrated"].metrics()
    assert metrics["energy"]["coverage_90"] == pytest.approx(0.9, abs=0.03)
    assert metrics["forces"]["coverage_90"] == pytest.approx(0.9, abs=0.012)
    assert abs(seen["raw"].metrics()["forces"]["coverage_90"] - 0.9) > 0.05
    assert bars.about["calibration"] | {"source": "here", "forces": 7200, "energy": 600} == bars.about["calibration"]


def test_labels_that_are_not_there_are_not_called_calibrated(engine, train):
    raw = fit_error_bars(engine, Memory(train))
    bare = [frame.replace(energy=None) for frame in train]
    assert calibrate(raw, engine, Memory(bare)).about["calibration"]["energy"] is None
    with pytest.raises(InputError, match="no energies and no forces"):
        calibrate(raw, engine, Memory([frame.replace(forces=None) for frame in bare]))


def test_forces_of_fixed_atoms_do_not_count(engine, train):
    raw = fit_error_bars(engine, Memory(train))
    fixed = np.array([True, False, False, False])
    wrong = [f.replace(forces=f.forces + 100 * fixed[:, None], fixed=fixed) for f in train]
    one, other = (calibrate(raw, engine, Memory(frames)) for frames in (train, wrong))
    np.testing.assert_allclose(other.forces_scale[1], one.forces_scale[1], rtol=1e-12)
    assert other.forces_scale[0] < 2 * one.forces_scale[0]


def test_selection_is_greedy_in_information_and_never_takes_a_copy_first(engine, train):
    bars = fit_error_bars(engine, Memory(train))
    rng = np.random.default_rng(11)
    far = structures(8, rng, engine, width=4.0)
    pool = [far[0], far[0], *far, *structures(30, rng, engine)]
    chosen = select(bars, engine, Memory(pool), 6)
    usual = np.concatenate(features(engine, train)) @ bars.forces
    unit = np.mean(np.sum(usual**2, axis=1))  # of an atom of the training data
    rows = [f @ bars.forces / np.sqrt(unit) for f in features(engine, pool)]
    information, expected = np.eye(D), []
    for _ in range(6):  # by determinants, all of them, in each round
        gains = [np.linalg.slogdet(information + x.T @ x)[1] - np.linalg.slogdet(information)[1] for x in rows]
        expected.append(int(np.argmax(np.where(np.isin(range(len(pool)), expected), -np.inf, gains))))
        information = information + rows[expected[-1]].T @ rows[expected[-1]]
    assert [each.index for each in chosen] == expected
    assert sum(each.index < 3 for each in chosen[:4]) <= 1  # three times the same
    with pytest.raises(InputError, match="100 are asked for; it has 40"):
        select(bars, engine, Memory(pool), 100)


def test_pictures_and_metrics_say_the_same_coverage(monkeypatch, tmp_path):
    """Also where errors are zero, which a picture with logarithmic axes cannot show."""
    label = Structure(np.array([1, 1]), np.zeros((2, 3)), np.zeros((3, 3)), np.zeros(3, bool), forces=np.ones((2, 3)))
    intervals, titles = Calibration(), []
    wrong = np.array([[1.0, 1, 1], [1, 1, 9]])
    intervals.add(label, {"forces": wrong, "forces_std": np.ones(2), "energy_std": 1.0, "novelty": np.zeros(2)})
    monkeypatch.setattr(plots, "_write", lambda figure, path: titles.append(figure.axes[0].get_title()))
    plots.plot_evaluation(Evaluation(metrics={}, calibration=intervals), tmp_path)
    assert titles == ["Error bars of forces: 83.3 % below"]
    assert intervals.metrics()["forces"]["coverage_90"] == pytest.approx(5 / 6)

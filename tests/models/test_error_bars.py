"""Error bars: what they are for features, and how a model file keeps them."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from equitensor import models
from equitensor.errors import InputError
from equitensor.models.error_bars import ErrorBars, write_error_bars

ELEMENTS = np.array([1, 6, 7, 8])


def bars_of(d, seed=0, by_element=True, **about):
    rng = np.random.default_rng(seed)
    m = 4 * d + 4 if by_element else d + 4
    energy, matrices = rng.normal(size=(m, m)), rng.normal(size=(2, d, d))
    scales = rng.uniform(0.5, 2, size=(2, 4))
    return ErrorBars(ELEMENTS, energy, *matrices, rng.normal(size=(4, d)), *scales, about)


@pytest.fixture(params=[True, False], ids=["by element", "all"])
def case(request):
    rng = np.random.default_rng(1)
    return bars_of(5, by_element=request.param), np.array([8, 1, 6, 1]), rng.normal(size=(4, 5))


def test_the_formulas_of_the_docstring(case):
    bars, numbers, f = case
    out, species = bars.of(numbers, f), np.searchsorted(ELEMENTS, numbers)
    sums = [f[numbers == z].sum(axis=0) for z in ELEMENTS] if len(bars.energy) == 24 else [f.sum(axis=0)]
    total = np.concatenate([*sums, [2, 1, 0, 1]])  # atoms of each element
    assert out["energy_std"] == pytest.approx(np.sqrt(total @ bars.energy @ bars.energy.T @ total))
    for i, k in enumerate(species):
        away = f[i] - bars.means[k]
        force = bars.forces_scale[k] * np.sqrt(f[i] @ bars.forces @ bars.forces.T @ f[i])
        assert out["forces_std"][i] == pytest.approx(force)
        novelty = bars.novelty_scale[k] * np.sqrt(away @ bars.whitening @ bars.whitening.T @ away)
        assert out["novelty"][i] == pytest.approx(novelty)


def follows_permutations(of, numbers, features) -> bool:
    order = np.array([2, 0, 3, 1])
    one, other = of(numbers, features), of(numbers[order], features[order])
    same = np.isclose(one["energy_std"], other["energy_std"])
    return bool(same and all(np.allclose(one[name][order], other[name]) for name in ("forces_std", "novelty")))


def test_they_follow_the_atoms_and_a_twin_that_does_not_is_told(case):
    bars, numbers, features = case
    assert follows_permutations(bars.of, numbers, features)
    assert not follows_permutations(lambda z, f: bars.of(numbers, f), numbers, features)


def test_standard_deviations_scale_with_their_factors(case):
    bars, numbers, features = case
    by_element = np.array([1.0, 2.0, 3.0, 4.0])
    before, after = bars.of(numbers, features), bars.scaled(2.5, by_element).of(numbers, features)
    assert after["energy_std"] == pytest.approx(2.5 * before["energy_std"])
    np.testing.assert_allclose(after["forces_std"], before["forces_std"] * [4, 1, 2, 1])
    np.testing.assert_array_equal(after["novelty"], before["novelty"])


@pytest.fixture
def model_path(fresh_model, tmp_path):
    path = tmp_path / "model.eqt"
    models.save(fresh_model().float(), path)
    return path


def raw(path):
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["equitensor"])  # noqa: SIM118


def test_a_file_keeps_them_and_everything_else(model_path):
    tensors, header = raw(model_path)
    bars = bars_of(16, note="here")
    write_error_bars(model_path, bars)
    after, header_after = raw(model_path)
    assert all(np.array_equal(after[name], value) for name, value in tensors.items())
    assert header_after.pop("error_bars")["note"] == "here" and header_after == header
    read = models.load(model_path).error_bars
    for name in ("energy", "forces", "whitening", "means", "forces_scale", "novelty_scale"):
        np.testing.assert_array_equal(getattr(read, name), getattr(bars, name))
    write_error_bars(model_path, None)
    assert models.load(model_path).error_bars is None and raw(model_path)[1] == header
    assert set(raw(model_path)[0]) == set(tensors)


def test_saving_a_loaded_model_keeps_them_until_its_weights_change(model_path, tmp_path, caplog):
    write_error_bars(model_path, bars_of(16))
    model = models.load(model_path)
    models.save(model, tmp_path / "same.eqt")
    assert models.load(tmp_path / "same.eqt").error_bars is not None and not caplog.records
    assert models.extended(model, dict(zip(model.elements, model.e0s.tolist(), strict=True))).error_bars is None
    with torch.no_grad():
        next(model.backbone.parameters()).add_(1e-3)
    models.save(model, tmp_path / "changed.eqt")
    assert models.load(tmp_path / "changed.eqt").error_bars is None
    assert "weights are not those of the error bars" in caplog.text


def test_damaged_ones_are_refused(model_path):
    write_error_bars(model_path, bars_of(16))
    tensors, header = raw(model_path)
    for name, value in (
        ("error_bars.means", tensors["error_bars.means"][:2]),
        ("error_bars.forces", tensors["error_bars.forces"] * np.nan),
        ("error_bars.energy", None),
    ):
        changed = {key: each for key, each in tensors.items() if key != name}
        if value is not None:
            changed[name] = np.ascontiguousarray(value)
        save_file(changed, model_path, metadata={"equitensor": json.dumps(header)})
        with pytest.raises(InputError, match=r"model\.eqt: its error bars are damaged"):
            models.load(model_path)

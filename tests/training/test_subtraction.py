"""Dispersion taken off the labels: the model learns the rest, and all that is reported is of whole labels."""

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from equitensor import models
from equitensor.errors import InputError
from equitensor.interfaces import Calculator
from equitensor.interfaces.backend import open_engine
from equitensor.models import D3
from equitensor.training import evaluate, fit
from equitensor.training.setup import build_model, open_data

D3_OFF = {"subtract": {"d3": "PBE-bj"}}
PLAIN = ("energy_mae", "energy_rmse", "forces_mae", "forces_rmse")


@pytest.fixture(autouse=True)
def _package(d3_stand_in):
    pass


def prepared(config):
    data = open_data(config, Console(quiet=True))
    return data, build_model(config, data)


def test_graphs_hold_the_rest_and_all_else_is_whole(config, small_data, tmp_path):
    (data, model), (plain, other) = prepared(config(data=D3_OFF)), prepared(config())
    for part, whole in ((data.train, plain.train), (data.valid, plain.valid)):
        for graph, before in zip(part, whole, strict=True):
            structure = part.snapshots[graph.index.item()]
            added = D3("pbe-bj").compute(structure)
            assert abs(added.energy) > 0.01
            assert graph.energy.item() == pytest.approx(before.energy.item() - added.energy, rel=1e-12)
            np.testing.assert_allclose(graph.forces, before.forces.numpy() - added.forces, atol=1e-12)
    assert data.e0s.values == plain.e0s.values and data.limits == plain.limits
    assert (model.scale, model.shift, model.d3) == (other.scale, other.shift, "pbe-bj") and other.d3 is None


def test_stress(config, crystal, tmp_path):
    ase.io.write(tmp_path / "crystals.xyz", [crystal(seed) for seed in range(5)], format="extxyz")
    path = {"train": str(tmp_path / "crystals.xyz"), "group_key": None, "valid_by": "frame"}
    data, _ = prepared(config(data=path | D3_OFF))
    structure = data.train.snapshots[int(data.train.indices[0])]
    added = D3("pbe-bj").compute(structure, stress=True)
    assert abs(added.stress).max() > 0.01
    np.testing.assert_allclose(data.train[0].stress[0], structure.stress - added.stress, atol=1e-12)


def test_a_run_is_judged_by_whole_labels(config, small_data, tmp_path):
    """The errors of its summary, of `evaluate` and of the calculator are the same; D3 itself is not learned."""
    summary = fit(config(data=D3_OFF, train={"max_epochs": 1}))
    path = tmp_path / "run" / "model.eqt"
    assert models.read_header(path)["d3"] == "pbe-bj"
    assert models.read_header(path)["provenance"]["config"]["data"]["subtract"] == {"d3": "pbe-bj", "zbl": False}
    data, _ = prepared(config(data=D3_OFF, output=str(tmp_path / "other")))
    for backend in ("core", "torch"):
        engine, _ = open_engine(path, "cpu", None, backend=backend)
        metrics = evaluate(engine, data.valid.snapshots, data.valid.indices).metrics
        for name in PLAIN:
            assert metrics[name] == pytest.approx(summary["errors"]["valid"][name], rel=1e-9)
    model = models.load(path, without_d3=True)
    assert evaluate(model, data.valid.snapshots, data.valid.indices).metrics["energy_mae"] == pytest.approx(
        summary["errors"]["valid"]["energy_mae"], rel=1e-9
    )
    validated = models.read_header(path)["provenance"]["validation"]
    assert validated["forces_mae"] == pytest.approx(summary["errors"]["valid"]["forces_mae"], rel=1e-9)


@pytest.fixture
def exact(config, frames, tmp_path):
    """Labels of a model plus D3, and that model's file, which learned whole labels of its own."""
    fit(config(train={"max_epochs": 1}, output=str(tmp_path / "first")))
    path = tmp_path / "first" / "model.eqt"
    calc, results = Calculator(path, device="cpu", dtype="float64", d3="pbe-bj"), []
    for atoms in frames:
        copy = atoms.copy()
        copy.info = {"trajectory": atoms.info["trajectory"]}
        copy.calc = calc
        labels = {"energy": copy.get_potential_energy(), "forces": copy.get_forces()}
        copy.calc = SinglePointCalculator(copy, **labels)
        results.append(copy)
    ase.io.write(tmp_path / "exact.xyz", results, format="extxyz")
    return path, tmp_path / "exact.xyz"


def test_what_is_taken_off_is_what_is_added(config, settings, exact, tmp_path):
    """The model that is right without D3 is right with it, before a step is taken (files of 8 digits)."""
    path, data = exact
    errors = {}
    for name, subtract in (("off", D3_OFF), ("on", {})):
        run = config(
            data={"train": str(data), **subtract},
            train={"init_from": str(path), "max_epochs": 1, "freeze": ["e0s"]},
            output=str(tmp_path / name),
        )
        errors[name] = fit(run)["errors"]
    before = {name: splits["valid, before the first step"] for name, splits in errors.items()}
    assert before["off"]["forces_mae"] < 1e-6 < 1e-3 < before["on"]["forces_mae"]
    assert before["off"]["energy_mae"] < 1e-6 < 1e-3 < before["on"]["energy_mae"]


def test_fine_tuning_goes_on_without_what_was_taken_off(config, exact, lacking_d3, tmp_path):
    path, data = exact
    run = {"train": {"init_from": str(lacking_d3(path)), "max_epochs": 1}, "output": str(tmp_path / "tuned")}
    before = fit(config(data={"train": str(data)}, **run))["errors"]["valid, before the first step"]
    assert before["forces_mae"] < 1e-6
    assert models.read_header(tmp_path / "tuned" / "model.eqt")["d3"] == "pbe-bj"
    again = config(data={"train": str(data)}, **(run | {"train": run["train"] | {"max_epochs": 2}}))
    fit(again, resume=tmp_path / "tuned")
    for other in (None, "pbe-zero"):
        with pytest.raises(InputError, match=f"learned labels without d3 pbe-bj, data.subtract.d3 is {other!r}"):
            fit(config(data={"train": str(data), "subtract": {"d3": other}}, **run | {"output": "elsewhere"}))


@pytest.mark.parametrize(
    "subtract, message",
    [
        ({"zbl": True}, r"data.subtract.zbl: model.zbl: true makes it part of the model"),
        ({"d3": "pbe"}, r"data.subtract.d3: d3 is 'pbe': name a functional and its damping"),
        ({"d3": "lda-bj"}, r"data.subtract.d3: d3 is 'lda-bj', which the package dftd3 does not know"),
        ({"d4": "pbe"}, r"unknown key data.subtract.d4: did you mean d3"),
    ],
)
def test_what_cannot_be_taken_off(config, subtract, message):
    with pytest.raises(InputError, match=message):
        config(data={"subtract": subtract})

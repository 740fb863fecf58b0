"""Learning curves of fine-tuning: which trainings are missing, and what the page says of those that are done."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from equitensor.data import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("fine_tuning")


@pytest.fixture
def site(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    return importlib.import_module("learning_curves")


def run(kind, seed, forces, frames=50, **changed):
    begins = {"scratch": (None, []), "fine-tuned": ("abc", ["train.lr=0.003"])}[kind]
    errors = {"energy_rmse": 2 * forces, "energy_mae": forces, "forces_rmse": forces, "forces_mae": forces / 2}
    key = {"data": "acac", "frames": frames, "seed": seed, "kind": kind, "seconds": 120}
    rest = {"model": begins[0], "settings": begins[1], "environment": 0, "steps": 9, "tests": {"300 K": errors}}
    return {**key, **rest, **changed}


def test_what_is_done_is_not_done_again(script, monkeypatch, tmp_path):
    def keys(*words):
        monkeypatch.setattr("sys.argv", ["fine_tuning.py", "DATA", "--out", str(tmp_path / "out.json"), *words])
        return script.asked(script.arguments())

    words = ("--sets", "acac", "--frames", "25", "50", "--seeds", "0", "1")
    asked = keys("train.lr=0.003", *words)
    assert len(asked) == 8 and len(script.missing(asked, [])) == 8
    assert [key["kind"] for key in asked[:2]] == ["scratch", "fine-tuned"]
    assert [key["seed"] for key in asked] == [0] * 4 + [1] * 4
    for key in asked[:3]:
        script.record({**key, "steps": 1, "tests": {}}, {"date": "today"}, tmp_path / "out.json")
    done = script.read(tmp_path / "out.json")
    assert script.missing(asked, done["runs"]) == asked[3:]
    assert done["environments"] == [{"date": "today"}]
    again = keys("train.lr=0.001", *words)
    assert [key["kind"] for key in script.missing(again, done["runs"])].count("scratch") == 2  # as before
    assert [key["kind"] for key in script.missing(again, done["runs"])].count("fine-tuned") == 4  # other settings
    assert len(script.missing(keys("--seconds", "7", "--sets", "acac", "--frames", "25"), done["runs"])) == 2


def test_no_frame_is_trained_on_and_held_out(script, tmp_path):
    frames = [Atoms("OH", [[0, 0, 0], [0, 0, 0.9 + 0.001 * i]]) for i in range(20)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.positions[1, 2], forces=np.ones((2, 3)))
    write(tmp_path / "all.xyz", frames)
    alone = [Atoms("H"), Atoms("O")]
    for atoms in alone:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    write(tmp_path / "atoms.xyz", alone)
    chosen = script.DataSet("all.xyz", {}, "atoms.xyz")
    drawn = {}
    for seed in (0, 1):
        (tmp_path / f"{seed}").mkdir()
        train, held_out = script.drawn(tmp_path, chosen, {"seed": seed, "frames": 12}, tmp_path / f"{seed}")
        energies = [[s.energy for s in Store(path) if len(s.z) == 2] for path in (train, held_out)]
        assert len(Store(train)) == 14 and list(map(len, energies)) == [12, 8]
        assert len({*energies[0], *energies[1]}) == 20
        drawn[seed] = set(energies[0])
    assert drawn[0] != drawn[1]


def test_medians_are_over_the_seeds_that_both_kinds_have(site):
    runs = [run("scratch", seed, forces) for seed, forces in enumerate((90.0, 100.0, 130.0))]
    runs += [run("fine-tuned", seed, forces) for seed, forces in ((0, 40.0), (1, 60.0))]
    (point,) = site.points(runs)
    assert point.seeds == (0, 1)
    assert point.median("scratch", "forces_rmse") == 95 and point.median("tuned", "energy_rmse") == 100
    assert point.ratio == pytest.approx(50 / 95)


@pytest.mark.parametrize("changed", [{"model": "older"}, {"settings": []}, {"seconds": 60}])
def test_other_models_settings_and_times_are_left_out(site, changed):
    runs = [run("scratch", 0, 100.0), run("fine-tuned", 0, 80.0, **changed), run("fine-tuned", 0, 50.0)]
    if "seconds" in changed:
        runs.append(run("scratch", 0, 200.0, seconds=60))
    (point,) = site.points([*runs[:2], *runs[3:], runs[2]])
    assert point.ratio == 0.5


def test_settings_are_those_tried_with_the_last_model(site):
    def held_out(kind, data, seed, forces, **changed):
        return run(kind, seed, forces, data=data, tests={"held out": {"forces_rmse": forces}}, **changed)

    environments = [{"machine": {"cpu": "a"}, "versions": dict.fromkeys(("equitensor", "torch"), "1"), "date": "today"}]
    environments[0]["dtype"] = "float32"
    runs = [
        held_out("fine-tuned", "acac", 0, 7.0, model="older"),
        held_out("fine-tuned", "acac", 0, 20.0, settings=[]),
        *(held_out("fine-tuned", "acac", seed, forces) for seed, forces in enumerate((10.0, 12.0, 50.0))),
        held_out("fine-tuned", "aspirin", 0, 30.0),
        held_out("scratch", "acac", 0, 40.0),
    ]
    lines = site.settings_table({"environments": environments, "runs": runs}).splitlines()
    assert lines[0] == "|  | acac, 50 frames | aspirin, 50 frames |"
    assert lines[2:5] == [
        "| from scratch | 40.0 |  |",
        "| the defaults | 20.0 |  |",
        "| `train.lr=0.003` | 12.0 | 30.0 |",
    ]


@pytest.mark.parametrize("page", ["fine-tuning", "organics"])
def test_the_pages_recommend_what_was_measured(script, site, page):
    first = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)[1]
    train = yaml.safe_load(first)["train"]
    assert train.pop("init_from")
    assert [f"train.{key}={value}" for key, value in train.items()] == script.RECIPE
    assert site.last_tuned(json.loads(site.RESULTS.read_text())["runs"])["settings"] == script.RECIPE


def test_fine_tuning_gains_what_the_page_says(site):
    listed = site.points(json.loads(site.RESULTS.read_text())["runs"])
    assert [point for point in listed if point.frames == 50]
    assert all(point.ratio < 1 for point in listed)
    assert all(point.ratio <= 0.6 for point in listed if point.frames == 50)
    assert all(f"| {p.median('tuned', 'forces_rmse'):.1f} | {p.ratio:.2f} |" in site.page() for p in listed)

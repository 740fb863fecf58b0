"""Models that come with equitensor: found by name, small, with a card, and part of what is installed."""

import shutil
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

import equitensor
from equitensor import models
from equitensor.errors import InputError
from equitensor.interfaces.backend import open_engine
from equitensor.interfaces.batched_engines import open_batched
from equitensor.interfaces.evaluator_library import why_not
from equitensor.models.by_name import SHIPPED
from equitensor.models.card import ENTRIES, card_lines

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def potential(folder):
    """own.eqt, a small model in the working directory."""
    model = models.build({"cutoff": 3.0, "channels": 4, "lmax": 1, "layers": 1}, (1, 8), {1: -13.0, 8: -2041.0})
    models.save(model, "own.eqt")
    return folder / "own.eqt"


def test_each_is_small_and_says_what_it_is_for():
    assert "organics" in models.shipped_models()
    for name, path in models.shipped_models().items():
        assert path.stat().st_size < 3e6
        card = models.read_header(name)["card"]
        assert set(card) == set(ENTRIES) and all(card.values())
        for numbers in card["errors"].values():
            assert numbers["frames"] >= 100 and all(value > 0 for value in numbers.values())


def test_organics_knows_its_elements_and_how_sure_it_is():
    header = models.read_header("organics")
    assert header["elements"] == [1, 6, 7, 8, 9, 16, 17]
    assert header["error_bars"]["calibration"]["held_out"]


def test_python_takes_the_name():
    atoms = molecule("CH3OH")
    atoms.calc = equitensor.Calculator("organics", device="cpu", dtype="float64")
    graph = equitensor.graph.from_ase(atoms, 5.0)
    out = equitensor.load("organics", dtype=torch.float64)(graph)
    assert atoms.get_potential_energy() == pytest.approx(float(out["energy"]), abs=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), out["forces"].numpy(), atol=1e-8)
    assert open_batched("organics", "cpu")[0].model.cutoff == 5.0


@pytest.mark.parametrize("backend", ["core", "torch"])
def test_every_backend_takes_the_name(backend):
    if backend == "core" and why_not() is not None:
        pytest.skip(str(why_not()))
    assert open_engine("organics", "cpu", backend=backend)[0].backend == backend


def test_a_file_of_that_name_wins_a_folder_does_not(potential):
    Path("organics").mkdir()
    assert models.model_path("organics") == SHIPPED / "organics.eqt"
    Path("organics").rmdir()
    shutil.copy(potential, "organics")
    assert models.model_path("organics") == Path("organics")
    assert models.read_header("organics")["elements"] == [1, 8]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("organic", "organic: there is no such model file, nor .* of that name: did you mean organics?"),
        ("organics.eqt", r"organics\.eqt: there is no such model file, nor .* did you mean organics?"),
        ("model.eqt", r"model\.eqt: there is no such model file, nor .*: those are organics"),
        ("./organics", r"\./organics: there is no such model file$"),
        ("runs/organics", "runs/organics: there is no such model file$"),
    ],
)
@pytest.mark.parametrize("taken_by", [models.read_header, models.load, equitensor.Calculator])
def test_what_there_is_not(folder, taken_by, name, message):
    with pytest.raises(InputError, match=message):
        taken_by(name)


def test_the_shipped_file_stays_as_it_is(folder):
    for name in ("organics", SHIPPED / "organics.eqt"):
        before = models.model_path(name).read_bytes()
        with pytest.raises(InputError, match=r"comes with equitensor and stays as it is: copy .*organics\.eqt"):
            models.write_error_bars(name, None)
        with pytest.raises(InputError, match="stays as it is"):
            models.write_card(name, models.read_header(name)["card"])
        assert models.model_path(name).read_bytes() == before


def test_a_card_changes_nothing_else(potential):
    before, card = models.load(potential).state_dict(), models.read_header("organics")["card"]
    models.write_card(potential, card | {"summary": "Water, badly."})
    header = models.read_header(potential)
    assert header["card"]["summary"] == "Water, badly." and header["elements"] == [1, 8]
    assert list(header["card"]) == list(ENTRIES)
    after = models.load(potential).state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(InputError, match="not for lacks or is not among them"):
        models.write_card(potential, {name: value for name, value in card.items() if name != "not for"})


def test_lines_of_a_card():
    card = {"summary": "Water.", "not for": ["ions", "ice"], "errors": {"dimers": {"frames": 3, "MAE (meV)": 1.25}}}
    assert card_lines(card) == [
        ("summary", "Water."),
        ("not for", "ions"),
        ("", "ice"),
        ("errors, dimers", "frames 3; MAE (meV) 1.25"),
    ]


def test_the_models_are_among_what_is_installed():
    """Of the wheel and of the sdist: .ci/release runs this file where they are installed."""
    if not (ROOT / "equitensor").is_dir():
        pytest.skip("not in the source")
    metadata = ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    patterns = metadata["options.package_data"]["equitensor"].split(",")
    files = {path for pattern in patterns for path in (ROOT / "equitensor").glob(pattern.strip())}
    assert set(models.shipped_models().values()) <= files

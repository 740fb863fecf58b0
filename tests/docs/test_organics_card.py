"""datasets/organics: the errors of the card are those of the data, and stand in the file that is shipped."""

import gzip
import importlib
import json
import pickle
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Hartree

from equitensor import Calculator, models
from equitensor.errors import InputError

RECIPE = Path(__file__).resolve().parents[2] / "datasets" / "organics"
SHIFT = 0.05  # eV on the labels of all that holds more than one molecule


@pytest.fixture
def recipe(monkeypatch):
    """recipe(name) -> a script of the folder."""
    monkeypatch.syspath_prepend(str(RECIPE))
    return importlib.import_module


def record(frames: list[Atoms], shift: float = 0.0) -> bytes:
    """A record as prepare.py writes it, with the labels of the model that is shipped, and `shift` on energies."""
    calc, steps = Calculator("organics", device="cpu", dtype="float64"), []
    for atoms in frames:
        atoms.calc = calc
        gradient = -atoms.get_forces() * Bohr / Hartree
        rows = list(zip(atoms.symbols, atoms.positions, gradient, strict=True))
        steps.append(
            {
                "coordinates": [{"atom": symbol, "x": x, "y": y, "z": z} for symbol, (x, y, z), _ in rows],
                "energy": (atoms.get_potential_energy() + shift) / Hartree,
                "gradient": [{"atom": symbol, "dx": x, "dy": y, "dz": z} for symbol, _, (x, y, z) in rows],
            }
        )
    return gzip.compress(pickle.dumps({"smiles": "", "gfn2": [], "gfn2_md": steps}))


@pytest.fixture
def held_out(tmp_path):
    """A folder with the parts that are held out, of water, methanol and pairs of waters."""
    rng = np.random.default_rng(0)

    def rattled(name, distance=0.0):
        atoms = molecule(name)
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape) + [distance, 0, 0]
        return atoms

    pairs = [(rattled("H2O"), rattled("H2O", 3.0 + 0.1 * step)) for step in range(4)]
    shards = {
        "test": {"test 000000": record([rattled("H2O") for _ in range(3)])},
        "larger": {"larger 000000": record([rattled("CH3OH") for _ in range(3)])},
        "test_dimers": {
            "test_dimers 000000": record([one + other for one, other in pairs], SHIFT),
            "test_dimers 000000a": record([one for one, _ in pairs]),
            "test_dimers 000000b": record([other for _, other in pairs]),
        },
    }
    for part, records in shards.items():
        (tmp_path / part).mkdir()
        with lmdb.open(str(tmp_path / part / "0000.lmdb"), subdir=False) as shard, shard.begin(write=True) as write:
            for key, value in records.items():
                write.put(key.encode(), value)
    return tmp_path


def test_errors_are_those_of_the_labels(recipe, held_out):
    errors = recipe("evaluate").evaluate("organics", held_out)
    assert errors["unseen molecules"]["frames"] == 3 and errors["larger molecules"]["atoms of the largest"] == 6
    for name in ("unseen molecules", "larger molecules"):
        assert errors[name]["force MAE (meV/A)"] < 0.1 < errors[name]["RMS force (meV/A)"]
        assert errors[name]["relative energy MAE (kcal/mol)"] < 0.01
    pairs = errors["unseen pairs"]
    assert (pairs["pairs"], pairs["frames"]) == (1, 4)
    assert pairs["interaction energy MAE (kcal/mol)"] == pytest.approx(SHIFT / 0.043364, rel=0.01)


def test_the_card_is_put_into_the_file(recipe, monkeypatch, tmp_path):
    script, card = recipe("ship"), models.read_header("organics")["card"]
    shutil.copy(models.model_path("organics"), tmp_path / "model.eqt")
    (tmp_path / "errors.json").write_text(json.dumps(card["errors"]))
    monkeypatch.setattr(script, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(script, "data_of", lambda stores: card["data"])
    monkeypatch.setattr(
        "sys.argv", ["ship.py", str(tmp_path / "model.eqt"), str(tmp_path / "errors.json"), "train.lmdb"]
    )
    script.main()
    assert models.read_header(tmp_path / "shipped" / "organics.eqt")["card"] == card


@pytest.mark.parametrize("extra", [["--name", "organics-dft"], ["--name", "a/b", "--card", "b.yaml"]])
def test_another_model_has_a_card_and_a_plain_name(recipe, monkeypatch, extra):
    monkeypatch.setattr("sys.argv", ["ship.py", "model.eqt", "errors.json", "train.lmdb", *extra])
    with pytest.raises(SystemExit, match="2"):
        recipe("ship").main()


def test_pairs_need_their_halves_in_the_same_frames(recipe, held_out):
    evaluate = recipe("evaluate")
    shard = held_out / "test_dimers" / "0000.lmdb"
    with lmdb.open(str(shard), subdir=False) as changed, changed.begin(write=True) as write:
        write.put(b"test_dimers 000000b", record([molecule("H2O")]))
    with pytest.raises(InputError, match=r"000000: 4 frames, but its halves have 4 and 1"):
        evaluate.evaluate("organics", held_out)
    with lmdb.open(str(shard), subdir=False) as changed, changed.begin(write=True) as write:
        write.delete(b"test_dimers 000000a")
    with pytest.raises(InputError, match=r"has no pairs with their halves"):
        evaluate.evaluate("organics", held_out)


def test_the_shipped_file_names_no_folder_of_the_machine_it_was_made_on(recipe):
    header = models.read_header("organics")
    assert recipe("ship").without_folders(header) == header
    made = {"data": {"train": ["/home/someone/train.lmdb", "valid.lmdb"]}, "cutoff": 5.0}
    assert recipe("ship").without_folders(made) == {"data": {"train": ["train.lmdb", "valid.lmdb"]}, "cutoff": 5.0}

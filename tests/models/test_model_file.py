"""The model file: what is saved is what is loaded, and what is not a model is refused."""

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from equitensor import models
from equitensor.errors import InputError


def test_a_round_trip_changes_no_bit(trained_file, trained_model, tmp_path, evaluate, alanine):
    model = models.load(trained_file)
    models.save(model, tmp_path / "again.eqt")
    again = models.load(tmp_path / "again.eqt")
    before, after = model.state_dict(), again.state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(model.e0s, again.e0s)
    assert (model.scale, model.shift, model.cutoff) == (again.scale, again.shift, again.cutoff)
    for name, value in evaluate(model, alanine).items():
        assert torch.equal(value, evaluate(again, alanine)[name])
    assert not again.training


def test_it_loads_in_either_precision(trained_file, trained_model, tmp_path):
    assert models.load(trained_file).dtype == torch.float32
    assert trained_model.dtype == torch.float64
    models.save(trained_model, tmp_path / "double.eqt")
    assert models.load(tmp_path / "double.eqt").dtype == torch.float64
    assert models.read_header(tmp_path / "double.eqt")["dtype"] == "float64"


def test_the_header_says_what_the_model_is(trained_file):
    header = models.read_header(trained_file)
    assert header["elements"] == [1, 6, 7, 8]
    assert set(header["e0s"]) == {"1", "6", "7", "8"}
    assert header["cutoff"] == 4.0
    assert header["settings"]["architecture"] == "directional"
    assert header["units"]["energy"] == "eV"
    assert header["provenance"]["training_structures"] == 650
    assert header["provenance"]["config"]["model"]["lmax"] == 2
    assert header["provenance"]["validation"]["forces_rmse"] < 0.3
    with safe_open(trained_file, framework="pt") as file:
        assert json.loads(file.metadata()["equitensor"]) == header


def test_no_half_file_is_left(fresh_model, tmp_path, monkeypatch):
    def interrupted(weights, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    models.save(fresh_model(), tmp_path / "model.eqt")
    whole = (tmp_path / "model.eqt").read_bytes()
    monkeypatch.setattr("equitensor.models.model_file.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        models.save(fresh_model(seed=1), tmp_path / "model.eqt")
    assert (tmp_path / "model.eqt").read_bytes() == whole


def damaged(source, path, how):
    whole = source.read_bytes()
    if how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "header":
        path.write_bytes(whole[:8] + b"x" * 100 + whole[108:])
    elif how == "text":
        path.write_text("weights: none\n")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "huge":
        path.write_bytes(struct.pack("<Q", 1 << 60) + whole[8:])
    elif how == "folder":
        path.mkdir()


@pytest.mark.parametrize("how", ["cut", "header", "text", "empty", "huge", "folder", "absent"])
def test_what_is_no_model_is_refused_by_name(trained_file, tmp_path, how):
    path = tmp_path / "other.eqt"
    damaged(trained_file, path, how)
    with pytest.raises(InputError, match=r"other\.eqt"):
        models.load(path)


def rewritten(source, path, weights=None, **changes):
    """The model file with parts of its header (None: without a header) or its weights changed."""
    with safe_open(source, framework="pt") as file:
        header = json.loads(file.metadata()["equitensor"]) | changes
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    save_file(kept if weights is None else weights(kept), path, metadata={"equitensor": json.dumps(header)})
    return path


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 99, "equitensor": "9.9"}, r"model format 99, written by equitensor 9\.9.*upgrade"),
        ({"format": 1, "equitensor": "0.0"}, r"model format 1, written by equitensor 0\.0.*train it again"),
        ({"harmonics": "another"}, "harmonics convention 'another'"),
        ({"settings": {"architecture": "later", "cutoff": 4.0, "num_neighbors": 9.0}}, "'later'"),
        ({"settings": {"cutoff": 4.0, "num_neighbors": 9.0, "colour": 3}}, "colour"),
        ({"elements": [1, 6]}, "do not fit"),
    ],
)
def test_a_header_that_cannot_be_followed(trained_file, tmp_path, changes, message):
    path = rewritten(trained_file, tmp_path / "other.eqt", **changes)
    with pytest.raises(InputError, match=message) as caught:
        models.load(path)
    assert "other.eqt" in str(caught.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": "three"}, "no format"),
        ({"scale": "large"}, "scale"),
        ({"e0s": None, "settings": 3}, "settings, e0s"),
        ({"e0s": {"carbon": 1.0}}, "carbon"),
        ({"e0s": {"1": 0.0}}, "E0 of atomic number 6 is None"),
        ({"elements": []}, "give atomic numbers"),
        ({"scale": 0.0}, "scale is 0"),
        ({"dtype": "float99"}, "float99"),
        ({"settings": {"cutoff": 4.0}}, "num_neighbors"),
    ],
)
def test_a_damaged_header_is_said_to_be_so(trained_file, tmp_path, changes, message):
    path = rewritten(trained_file, tmp_path / "other.eqt", **changes)
    with pytest.raises(InputError, match=rf"other\.eqt: .*{message}"):
        models.load(path)


@pytest.mark.parametrize("text", ["{", "[]", "3", ""])
def test_a_header_that_is_no_json_object(tmp_path, text):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.eqt", metadata={"equitensor": text})
    with pytest.raises(InputError, match=r"other\.eqt: its header is damaged"):
        models.read_header(tmp_path / "other.eqt")


def test_weights_that_are_missing(trained_file, tmp_path):
    path = rewritten(trained_file, tmp_path / "other.eqt", weights=lambda kept: dict(list(kept.items())[1:]))
    with pytest.raises(InputError, match="do not fit its settings"):
        models.load(path)


def test_weights_without_a_header(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.eqt")
    with pytest.raises(InputError, match="no equitensor header"):
        models.load(tmp_path / "other.eqt")

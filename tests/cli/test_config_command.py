"""`equitensor config`: keys in words, and a schema that takes what training takes."""

import json
from pathlib import Path

import pytest
import yaml

from equitensor.cli import main
from equitensor.training.config import config_class
from equitensor.training.config_keys import keys

RECIPES = sorted((Path(__file__).resolve().parents[2] / "datasets").glob("*/train.yaml"))


def test_every_key_has_a_meaning_and_stands_there(capsys):
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    documented = [key for section in keys().values() for key in section]
    assert all(key.meaning for key in documented), [key.name for key in documented if not key.meaning]
    assert {"data.train", "model.product", "train.max_time", "loss.energy_late", "seed"} <= {
        key.name for key in documented
    }
    assert all(key.name.split(".")[-1][:10] in printed for key in documented)


def test_defaults_and_values_are_those_of_the_models():
    by_name = {key.name: key for section in keys().values() for key in section}
    assert (by_name["train.ema"].default, by_name["train.ema"].values) == ("0.99", "number, 0 or more, < 1")
    assert by_name["model.channels"].default == "32 (directional), 128 (dimenet++)"
    assert by_name["train.optimizer"].values == "soap, adam, muon"
    assert by_name["data.train"].default == ""


def test_a_section_that_is_not_there_is_told(capsys):
    assert main(["config", "modell"]) == 2
    assert "did you mean model?" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_the_schema_takes_the_recipes(recipe, schema, jsonschema):
    jsonschema.validate(yaml.safe_load(recipe.read_text()), schema)


def test_the_schema_refuses_what_training_refuses(schema, jsonschema):
    good = {"data": {"train": "a.xyz"}, "train": {"max_time": 600, "freeze": "embedding"}}
    jsonschema.validate(good, schema)
    config_class().model_validate(good)
    for bad in ({}, {"data": {"train": "a.xyz"}, "train": {"ema": 1.5}}, {"data": {"train": "a.xyz"}, "epochs": 3}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)
        with pytest.raises(ValueError):
            config_class().model_validate(bad)


@pytest.fixture
def schema(capsys):
    assert main(["config", "--schema"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def jsonschema():
    return pytest.importorskip("jsonschema", reason="needs jsonschema (pip install equitensor[test])")

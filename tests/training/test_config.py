"""The typed config: types, overrides, hints, and the recipes that ship with the project."""

import inspect
from pathlib import Path

import pytest

from equitensor import models
from equitensor.errors import InputError
from equitensor.training import load_config
from equitensor.training.checkpoint import saved_config, write_inputs
from equitensor.training.config import config_class, validate
from equitensor.training.config_sections import seconds

RECIPES = sorted((Path(__file__).resolve().parents[2] / "datasets").glob("*/train.yaml"))


@pytest.fixture
def yaml_file(tmp_path):
    def write(text):
        path = tmp_path / "train.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_the_recipes_are_valid(path):
    assert load_config(path).data.train


def test_a_mapping_is_a_config():
    values = {"data": {"train": "some.xyz"}, "train": {"lr": 0.1}}
    config = load_config(values, ["train.lr=0.5", "model.lmax=1"])
    assert (config.train.lr, config.model.lmax, config.data.train) == (0.5, 1, "some.xyz")
    assert values == {"data": {"train": "some.xyz"}, "train": {"lr": 0.1}}
    with pytest.raises(InputError, match=r"config: .*lmx.*lmax"):
        load_config(values | {"model": {"lmx": 3}})


def test_all_recipes_are_there():
    assert {path.parent.name for path in RECIPES} >= {"acac", "alanine", "oc20", "pubchemqcr", "rmd17"}


def test_only_the_data_must_be_given(yaml_file):
    config = load_config(yaml_file("data: {train: some.xyz}"))
    assert config.model.architecture == "directional"
    assert config.train.optimizer == "soap"
    assert config.data.e0s is None


def test_sections_may_be_empty(yaml_file):
    path = yaml_file("data: {train: a.xyz}\nmodel:\ntrain:\n#  lr: 0.1\n")
    assert load_config(path, ["train.lr=0.5"]).train.lr == 0.5


@pytest.mark.parametrize(
    "text, message",
    [
        ("data: {train: a.xyz}\nmodel: {chanels: 3}", r"unknown key model\.chanels: did you mean channels\?"),
        ("data: {train: a.xyz}\ntrian: {lr: 3}", r"unknown key trian: did you mean train\?"),
        (
            "data: {train: a.xyz}\nloss: {zzz: 3}",
            r"unknown key loss\.zzz: known keys: .*energy, energy_late, forces, stress",
        ),
        ("model: {channels: 3}", r"data is missing"),
        ("data: {valid: a.xyz}", r"data\.train is missing"),
        ("data: {train: a.xyz}\nmodel: {lmax: -1}", r"model\.lmax: .*greater than or equal to 0 \(got -1\)"),
        ("data: {train: a.xyz}\nmodel: {lmax: two}", r"model\.lmax: .*integer.*'two'"),
        ("data: {train: a.xyz}\ntrain: {optimizer: sgd}", r"train\.optimizer: .*'soap', 'adam' or 'muon'.*'sgd'"),
        ("data: {train: a.xyz}\ntrain: {dtype: half}", r"train\.dtype: .*'half'"),
        ("data: {train: a.xyz}\ntrain: {max_time: soon}", r"train\.max_time: 'soon' is not a time: write HH:MM:SS"),
        ("data: {train: a.xyz}\ntrain: {max_time: '00:00:00'}", r"train\.max_time: no time at all"),
        ("data: {train: a.xyz}\ntrain: 5", r"train: .*dictionary.*got 5"),
        ("data: {train: a.xyz}\nseed: -1", r"seed: .*greater than or equal to 0 \(got -1\)"),
        ("data: {train: a.xyz}\ntrain: {lr: .nan}", r"train\.lr: .*finite number \(got nan\)"),
        ("data: {train: a.xyz}\nmodel: {cutoff: .inf}", r"model\.cutoff: .*finite number \(got inf\)"),
        ("data: {train: a.xyz}\nmodel: {cutoff: 0}", r"model\.cutoff: .*greater than 0 \(got 0\)"),
        ("data: {train: a.xyz}\ntrain: {max_epochs: -3}", r"train\.max_epochs: .*greater than 0 \(got -3\)"),
        ("data: {train: a.xyz}\ntrain: {batch_size: 0}", r"train\.batch_size: .*greater than 0 \(got 0\)"),
        ("data: {train: a.xyz}\ntrain: {batch_size: 2.5}", r"train\.batch_size: .*fractional part \(got 2\.5\)"),
        ("data: {train: a.xyz}\ntrain: {max_epochs: true}", r"train\.max_epochs: true and false are no values"),
        ("data: {train: a.xyz}\ntrain: {max_time: -600}", r"train\.max_time: -600 is not a time"),
        ("data: {train: a.xyz, e0s: {H: .nan}}", r"data\.e0s\.H: .*finite number \(got nan\)$"),
        ("data: {train: a.xyz, e0s: {H: true}}", r"data\.e0s: true and false are no values"),
        ("data: {train: 5}", r"data\.train: input should be a valid string \(got 5\)$"),
        ("data: {train: a.xyz}\ntrain: {lr: 1}\ntrain: {ema: 0}", r"not YAML: line 3, column 1: train is there twice"),
        ("- data", "a config is a mapping"),
        ("data: {train: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(yaml_file, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config(yaml_file(text))
    assert str(caught.value).count("train.yaml") >= 1


def test_several_mistakes_are_told_at_once(yaml_file):
    with pytest.raises(InputError, match=r"model\.lmx.*; .*train\.lr") as caught:
        load_config(yaml_file("data: {train: a.xyz}\nmodel: {lmx: 3}\ntrain: {lr: -1}"))
    assert "did you mean lmax?" in str(caught.value)


def test_overrides_win_null_included(yaml_file):
    path = yaml_file("data: {train: a.xyz, valid: b.xyz}\ntrain: {max_epochs: 7, lr: 1e-3}\nseed: 3")
    assert load_config(path).train.lr == 1e-3
    overrides = ["data.valid=null", "train.max_epochs=null", "train.lr=1e-4", "model.lmax=2", "seed=5"]
    overrides += ["data.e0s={H: -13.6, 8: -2043.9}", "data.train=[a.xyz, c.xyz]", "train.max_time=00:10:00"]
    config = load_config(path, overrides)
    assert config.data.valid is None
    assert config.train.max_epochs is None
    assert (config.train.lr, config.model.lmax, config.seed) == (1e-4, 2, 5)
    assert config.data.e0s == {"H": -13.6, 8: -2043.9}
    assert config.data.train == ["a.xyz", "c.xyz"]
    assert config.train.max_time == "00:10:00"


@pytest.mark.parametrize("override", ["train.lr", "=3", "seed.sub=3", "train.lr=[", "train.lrr=3"])
def test_bad_overrides(yaml_file, override):
    with pytest.raises(InputError):
        load_config(yaml_file("data: {train: a.xyz}\nseed: 1"), [override])


@pytest.mark.parametrize(
    "text, expected", [("00:10:00", 600), ("10:00", 600), ("1:00:00", 3600), ("10:00:00", 36000), ("100:00:00", 360000)]
)
def test_times_with_and_without_quotes(yaml_file, text, expected):
    for written in (text, f"'{text}'"):
        config = load_config(yaml_file(f"data: {{train: a.xyz}}\ntrain: {{max_time: {written}}}"))
        assert seconds(config.train.max_time) == expected


@pytest.mark.parametrize("text, number", [("1.0e1", 10), ("1e1", 10), ("+1e+1", 10), ("010", 10), ("1_0", 10)])
def test_numbers_mean_what_they_look_like(yaml_file, text, number):
    """PyYAML alone reads these as strings, or 010 as 8."""
    e0s = f"{{H: -{text.lstrip('+')}, No: {text}}}"
    path = yaml_file(f"data: {{train: a.xyz, e0s: {e0s}}}\ntrain: {{batch_size: {text}}}")
    config = load_config(path, [f"train.max_epochs={text}", f"train.lr={text}"])
    assert config.data.e0s == {"H": -number, "No": number}
    assert (config.train.batch_size, config.train.max_epochs, config.train.lr) == (number, number, number)


def test_the_saved_config_is_the_config(tmp_path, settings):
    data = {"e0s": {1: -13.0, "C": -1029.0}, "group_key": "1e5", "energy_key": "no", "forces_key": "010"}
    config = validate(settings(data=data, train={"lr": 1e-5}), "test")
    write_inputs(tmp_path, config, {})
    assert saved_config(tmp_path).resolved() == config.resolved()


@pytest.mark.parametrize(("name", "architecture"), models.ARCHITECTURES.items())
def test_every_setting_of_an_architecture_is_a_key(name, architecture):
    supplied = {"num_elements", "num_neighbors"}
    assert set(inspect.signature(architecture).parameters) - supplied <= set(
        config_class().model_fields["model"].annotation.model_fields
    ), name


def test_patterns_need_quotes_in_a_file_but_not_in_an_override(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("data:\n  train: '*/md.xyz'\n")
    assert load_config(path).data.train == "*/md.xyz"
    config = load_config(path, ["data.train=*/a.xyz", "data.valid=[ab]/md.xyz", "data.test=[x.xyz, y.xyz]"])
    assert (config.data.train, config.data.valid, config.data.test) == ("*/a.xyz", "[ab]/md.xyz", ["x.xyz", "y.xyz"])
    path.write_text("data:\n  train: */md.xyz\n")
    with pytest.raises(InputError, match=r"not YAML: .*begins with \* needs quotes") as raised:
        load_config(path)
    assert "\n" not in str(raised.value)


def test_how_data_is_read_reaches_the_reader():
    config = validate({"data": {"train": "a.dump", "elements": ["Si", "O"], "weight_key": "w"}, "output": "x"}, "test")
    assert config.data.reading_options() == {"format": "auto", "elements": ["Si", "O"], "weight_key": "w"}


def test_sources_have_options_and_weights_of_their_own():
    data = {
        "train": ["a.xyz", {"path": "b.xyz", "weight": 2, "energy_key": "E"}],
        "test": {"path": "c.xyz", "energy_key": "E2"},
        "energy_key": "E1",
    }
    config = validate({"data": data}, "test")
    assert config.resolved()["data"]["train"] == ["a.xyz", {"path": "b.xyz", "weight": 2.0, "energy_key": "E"}]
    assert config.resolved()["data"]["test"] == {"path": "c.xyz", "weight": 1.0, "energy_key": "E2"}
    named = validate({"data": {"train": "a.xyz", "test": {"hot": "h.xyz", "cold": {"path": "c.xyz"}}}}, "test")
    assert list(named.data.test) == ["hot", "cold"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": {"path": "a", "wieght": 2}}, r"unknown key data\.train\.wieght: did you mean weight\?"),
        ({"train": ["a", {"path": "b", "weight": -2}]}, r"data\.train\.1\.weight: .*greater than 0 \(got -2\)"),
        ({"train": {"pth": "a"}}, r"data\.train: a mapping that names data needs a path"),
        ({"train": "a", "test": {"hot": {"path": "b", "energy_kye": "E"}}}, r"did you mean energy_key\?"),
    ],
)
def test_what_is_wrong_in_a_source_is_named(data, message):
    with pytest.raises(InputError, match=message):
        validate({"data": data}, "test")

"""Which parts of a model are trained, and how fast: frozen ones, rates by part, a new head."""

import pytest
import torch
from ase import Atoms
from pretrained_runs import prepared

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import from_ase
from equitensor.models.directional import Directional
from equitensor.models.parts import parts_of
from equitensor.training import check, fit
from equitensor.training.checkpoint import read_checkpoint
from equitensor.training.optimizers import build_optimizer
from equitensor.training.parts import GradientWatch, freeze
from equitensor.training.shards import Shards
from equitensor.training.statistics import statistics


def test_parts_hold_every_weight_once():
    for settings in ({"layers": 2}, {"layers": 1, "product": "cg"}, {"architecture": "dimenet++", "layers": 1}):
        model = models.build(settings, (1, 8), {1: 0.0, 8: 0.0})
        weights = [weight for part in parts_of(model).values() for weight in part.values()]
        assert len(weights) == len(list(model.parameters())) == len({id(weight) for weight in weights})
        assert set(parts_of(model)) <= {"embedding", "radial", "interactions", "products", "readout"}


@pytest.mark.parametrize("part", ["embedding", "radial", "interactions", "products", "readout"])
def test_what_is_frozen_stays_and_the_rest_is_trained_as_ever(tuning, tmp_path, shards, part):
    """To the last bit, in the weights, their average and the file, under weight decay."""
    config = tuning(train={"freeze": part, "weight_decay": 0.1, "max_epochs": 2, "ema": 0.5})
    _, start = prepared(config)
    frozen = {f"backbone.{name}" for name in parts_of(start)[part]}
    fit(config)
    state = read_checkpoint(tmp_path / "run")
    average = {name.removeprefix("module."): value for name, value in state["ema"].items()}
    stored = models.load(tmp_path / "run" / "model.eqt").state_dict()
    for name, value in start.state_dict().items():
        for weights in (state["model"], average, stored):
            assert torch.equal(weights[name], value) == (name in frozen), name


def test_gradients_of_what_is_not_frozen_are_those_without_freezing():
    whole = models.build({"channels": 4, "edge_channels": 4}, (1, 6), {1: 0.0, 6: 0.0})
    methane = Atoms("CH4", [[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [0.6, -0.6, -0.6], [-0.6, 0.7, -0.6]])
    graph = from_ase(methane, 5.0)

    def gradients(model):
        model.zero_grad()
        out = model(graph)
        (out["energy"].sum() + out["forces"].square().sum()).backward()
        return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}

    expected = gradients(whole)
    for part in parts_of(whole):
        model = models.extended(whole, {1: 0.0, 6: 0.0})
        freeze(model, [part])
        actual = gradients(model)
        assert 0 < len(actual) < len(expected)
        for name, value in actual.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_rates_by_part():
    model = models.build({"channels": 8}, (1, 6), {1: 0.0, 6: 0.0})
    freeze(model, ["embedding"])
    for name in ("soap", "adam", "muon"):
        optimizer = build_optimizer(model, name, {"default": 0.02, "readout": 0.001})
        of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        parts = parts_of(model)
        assert {of[id(p)] for p in parts["readout"].values()} <= {0.001, 0.0005}
        assert {of[id(p)] for p in parts["radial"].values()} <= {0.02, 0.01}
        assert not any(id(p) in of for p in parts["embedding"].values())
        assert len(of) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    "train, message",
    [
        ({"freeze": ["head"]}, r"train\.freeze: head is no part of directional, which has .*embedding.*readout.*e0s"),
        ({"lr": {"head": 0.1}}, r"train\.lr: head is no part of directional, which has .*readout.*default"),
        ({"lr": {"readout": 0.1}, "freeze": ["readout"]}, r"train\.lr: readout is frozen"),
        ({"head": "new", "freeze": ["readout"]}, r"train\.head: new re-initialises the readout, but train\.freeze"),
        (
            {"freeze": ["embedding", "radial", "interactions", "products", "readout"]},
            r"are all parts of the model, nothing is left to train",
        ),
    ],
)
def test_parts_that_cannot_be_meant_are_refused(tuning, train, message):
    with pytest.raises(InputError, match=message):
        check(tuning(train=train))


@pytest.mark.parametrize("data", [{}, {"e0s": {"H": -10.0, "C": -1030.0, "N": -1480.0, "O": -2040.0}}])
def test_a_new_head_is_that_of_a_new_model_and_all_else_of_the_file(tuning, pretrained, data):
    run, model = prepared(tuning(train={"head": "new"}, data=data, seed=5))
    old = models.load(pretrained)
    settings = {name: value for name, value in old.settings.items() if name != "num_neighbors"}
    new = models.build(settings, old.elements, dict.fromkeys(old.elements, 0.0), seed=5)
    readout = set(parts_of(model)["readout"])
    assert 0 < len(readout) < len(list(model.parameters()))
    for name, weight in model.backbone.named_parameters():
        expected, other = (new, old) if name in readout else (old, new)
        assert torch.equal(weight, dict(expected.backbone.named_parameters())[name].to(weight)), name
        assert not torch.equal(weight, dict(other.backbone.named_parameters())[name].to(weight)), name
    measured = statistics(run.train, run.labels)
    assert (model.scale, model.shift) == (measured.scale, measured.shift)
    assert run.e0s.values == prepared(tuning(data=data, seed=5))[0].e0s.values


def test_a_new_head_alone_is_trained_and_said_to_be_new(tuning, pretrained, tmp_path, capsys):
    frozen = ["embedding", "radial", "interactions", "products"]
    fit(tuning(train={"head": "new", "freeze": frozen, "lr": {"readout": 0.002}, "max_epochs": 1}))
    out = capsys.readouterr().out
    assert "the readout is initialised as in a new model" in out
    parts = [*frozen, "readout"]
    rows = {row[1]: row[5:-1] for row in map(str.split, out.splitlines()) if len(row) > 6 and row[1] in parts}
    assert rows.pop("readout") == ["new", "│", "0.002", "and", "0.001"]
    assert rows == {part: ["from", "the", "file", "│", "frozen"] for part in frozen}
    start, end = models.load(pretrained), models.load(tmp_path / "run" / "model.eqt")
    ends = dict(end.backbone.named_parameters())
    for name, weight in start.backbone.named_parameters():
        assert torch.equal(ends[name], weight) == (name not in parts_of(end)["readout"]), name


def test_an_architecture_without_a_readout_cannot_begin_it_anew(tuning, monkeypatch):
    monkeypatch.setattr(Directional, "PARTS", {"all": ("*",)})
    with pytest.raises(InputError, match=r"^directional has no part readout that could begin anew: all$"):
        check(tuning(train={"head": "new"}))


def test_a_new_head_needs_a_model_that_has_one(config):
    with pytest.raises(
        InputError, match=r"^train\.head: new re-initialises .* of train\.init_from, which is not given"
    ):
        check(config(train={"head": "new"}))


def test_frozen_e0s_need_a_model_they_are_of(config):
    with pytest.raises(InputError, match=r"e0s are those of train\.init_from, which is not given"):
        check(config(train={"freeze": ["e0s"]}))


def test_a_part_without_a_gradient_is_named(config, monkeypatch):
    backward = Shards.backward

    def without(self, *arguments, **options):
        result = backward(self, *arguments, **options)
        for weight in parts_of(self.model)["products"].values():
            weight.grad = None
        return result

    monkeypatch.setattr(Shards, "backward", without)
    with pytest.raises(InputError, match=r"^products: no gradient in the first 3 steps.*freeze: \[products\]"):
        fit(config(train={"freeze": ["radial"]}))


def test_steps_without_any_gradient_do_not_count_against_a_part():
    model = models.build({"channels": 4, "lmax": 1}, (1,), {1: 0.0})
    watch = GradientWatch(model)
    for _ in range(5):
        watch.look()
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    for _ in range(4):
        watch.look()
    assert watch.steps == 0


def test_what_is_trained_is_printed(tuning, capsys):
    check(tuning(train={"freeze": ["radial"], "lr": {"readout": 0.002}}))
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    rates = {row[1]: row[-2] for row in rows if len(row) >= 6}
    assert rates["radial"] == "frozen" and "0.002" in " ".join(next(row for row in rows if row[1] == "readout"))

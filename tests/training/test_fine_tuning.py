"""Fine-tuning: what is taken over, refitted and replayed, and what is said of it."""

import json
import re

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from pretrained_runs import prepared, relabelled
from rich.console import Console

from equitensor import models
from equitensor.data import Memory
from equitensor.data.replay import replay
from equitensor.errors import InputError
from equitensor.graph import Structure, from_ase
from equitensor.nn.weights import ElementTable
from equitensor.training import check, fit
from equitensor.training.checkpoint import read_checkpoint
from equitensor.training.refit import LeftOver
from equitensor.training.setup import open_data, origin_of


def structure_of(atoms):
    return Structure(
        z=atoms.numbers,
        pos=atoms.positions,
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, bool),
        energy=atoms.get_potential_energy(),
        source=str(atoms.positions[0, 0]),
    )


def test_what_the_model_section_leaves_out_is_that_of_the_file(tuning, pretrained, tmp_path):
    fit(tuning(train={"max_epochs": 1}))
    settings = models.read_header(tmp_path / "run" / "model.eqt")["settings"]
    assert settings == models.read_header(pretrained)["settings"]
    assert settings["zbl"] is True and settings["channels"] == 4
    assert "zbl: true" in (tmp_path / "run" / "config.yaml").read_text()
    assert fit(tuning(train={"max_epochs": 2}), resume=tmp_path / "run")["epochs"] == 2  # the section still empty


@pytest.mark.parametrize(
    "change", [{"cutoff": 4.0}, {"channels": 2}, {"gathered": 9}, {"zbl": False}, {"architecture": "dimenet++"}]
)
def test_another_model_than_that_of_the_file_is_refused(tuning, change):
    name, value = next(iter(change.items()))
    message = rf"differs in model\.{name} \({re.escape(repr(value))} here, .* there\).*leave that out"
    with pytest.raises(InputError, match=message):
        check(tuning(model=change))


def test_a_larger_model_begins_with_the_predictions_of_the_file(tuning, pretrained, tmp_path):
    before = fit(tuning(train={"max_epochs": 1}))["errors"]["train, before the first step"]
    larger = fit(tuning(train={"max_epochs": 1}, model={"channels": 6, "layers": 3}, output=str(tmp_path / "larger")))
    assert larger["errors"]["train, before the first step"] == pytest.approx(before)
    settings = models.read_header(tmp_path / "larger" / "model.eqt")["settings"]
    assert settings == models.read_header(pretrained)["settings"] | {"channels": 6, "layers": 3}


def test_rows_of_new_elements_are_the_average_and_the_known_ones_stay():
    e0s = {1: -13.0, 6: -1035.0, 8: -2043.0}
    for settings in ({"channels": 4, "lmax": 1}, {"architecture": "dimenet++", "channels": 8, "layers": 1, "lmax": 1}):
        model = models.build(settings, e0s, e0s, scale=2.0, shift=-3.0, num_neighbors=7.0)
        more = models.extended(model, e0s | {7: -1485.0, 9: -2700.0})
        assert more.elements == (1, 6, 7, 8, 9)
        assert (more.scale, more.shift, more.settings) == (2.0, -3.0, model.settings)
        tables = [name for name, value in model.state_dict().items() if value.shape != more.state_dict()[name].shape]
        assert tables
        for name, value in model.state_dict().items():
            rows = more.state_dict()[name]
            if name in tables:
                assert torch.equal(rows[[0, 1, 3]], value)
                for row in (2, 4):
                    torch.testing.assert_close(rows[row], value.mean(dim=0))
            else:
                assert torch.equal(rows, value)
        water = Atoms("OHH", [[0, 0, 0], [0.9, 0, 0], [0, 0.9, 0.1]])
        graph = from_ase(water, 5.0)
        torch.testing.assert_close(model(graph)["energy"], more(graph)["energy"])


def test_e0s_are_refitted_to_what_the_energies_have_beyond_the_model(tuning, frames, tmp_path):
    """At another level of theory the refitted E0s take the difference, exactly where the compositions say it."""
    same, _ = prepared(tuning())
    offsets = {"H": 1.0, "C": -20.0, "N": 7.0, "O": 300.0}
    ase.io.write(tmp_path / "small.xyz", relabelled(frames, offsets), format="extxyz")
    other, model = prepared(tuning())
    structure = other.train.snapshots[0]
    counts = {z: int((structure.z == z).sum()) for z in (1, 6, 7, 8)}
    moved = sum(n * (other.e0s.values[z] - same.e0s.values[z]) for z, n in counts.items())
    assert moved == pytest.approx(sum(n * o for n, o in zip(counts.values(), offsets.values(), strict=True)), abs=0.5)
    assert model.e0s.tolist() == list(other.e0s.values.values())
    assert any("O " in note and "(was " in note for note in other.pretrained.notes)


def test_the_first_step_starts_near_the_energies_of_another_level_of_theory(tuning, frames, tmp_path, capsys):
    ase.io.write(tmp_path / "small.xyz", relabelled(frames, {"C": -20.0, "O": 300.0}), format="extxyz")
    before = fit(tuning(train={"max_epochs": 1}))["errors"]["train, before the first step"]
    same = fit(tuning(train={"max_epochs": 1}, output=str(tmp_path / "again")))["errors"]
    assert before["energy_per_atom_mae"] < 0.2
    assert same["valid, before the first step"]["n_structures"] == same["valid"]["n_structures"]
    out = capsys.readouterr().out
    assert "Errors before the first step" in out and "valid, before the first step" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["errors"]["train, before the first step"] == before


def test_an_absurd_energy_does_not_move_the_e0s(tuning, frames, tmp_path):
    expected, _ = prepared(tuning(data={"valid_fraction": 0.0}))
    frames = relabelled(frames, {})
    frames[3].calc.results["energy"] += 5000.0
    ase.io.write(tmp_path / "small.xyz", frames, format="extxyz")
    data, _ = prepared(tuning(data={"valid_fraction": 0.0}))
    for z, e0 in expected.e0s.values.items():
        assert data.e0s.values[z] == pytest.approx(e0, abs=0.1)


def test_a_new_element_moves_to_another_level_of_theory_with_the_known_ones(tuning, frames, tmp_path):
    """One composition says nothing of single elements: all stay together, the new one too."""
    offsets = dict.fromkeys(("H", "C", "S", "O"), 600.0)
    ase.io.write(tmp_path / "small.xyz", relabelled(frames, offsets, element=16), format="extxyz")
    data, _ = prepared(tuning())
    before = data.pretrained.e0s_before
    for z in (1, 6, 8):
        assert data.e0s.values[z] == pytest.approx(before[z] + 600.0, abs=1.0)
    assert data.e0s.values[16] == pytest.approx(np.mean(list(before.values())) + 600.0, abs=1.0)


def test_given_e0s_are_kept_and_the_shift_takes_the_rest(tuning, pretrained):
    given = {"H": -10.0, "C": -1030.0, "N": -1480.0, "O": -2040.0}
    data, model = prepared(tuning(data={"e0s": given}))
    assert list(data.e0s.values.values()) == [-10.0, -1030.0, -1480.0, -2040.0]
    assert model.shift != models.read_header(pretrained)["shift"]
    left = [
        (model(data.train[i], forces=False)["energy"].item() - data.train[i].energy.item()) / data.train[i].num_nodes
        for i in range(len(data.train))
    ]
    assert np.median(left) == pytest.approx(0.0, abs=1e-3 * np.abs(left).max() + 1e-2)


def test_frozen_e0s_are_those_of_the_model(tuning, pretrained, frames, tmp_path):
    ase.io.write(tmp_path / "small.xyz", relabelled(frames, {"O": 300.0}, element=16), format="extxyz")
    data, _ = prepared(tuning(train={"freeze": ["e0s"]}))
    before = models.read_header(pretrained)["e0s"]
    assert {str(z): e0 for z, e0 in data.e0s.values.items() if z != 16} == before
    assert np.isfinite(data.e0s.values[16])
    with pytest.raises(InputError, match=r"data\.e0s gives E0s, but train\.freeze keeps"):
        prepared(tuning(train={"freeze": ["e0s"]}, data={"e0s": {"H": 0, "C": 0, "S": 0, "O": 0}}))


def test_a_new_element_is_learnt_and_those_that_no_longer_occur_are_kept(tuning, frames, tmp_path, capsys):
    ase.io.write(tmp_path / "small.xyz", relabelled(frames, {}, element=16), format="extxyz")
    fit(tuning(train={"max_epochs": 1}))
    out = " ".join(capsys.readouterr().out.split())
    assert "new elements: S; their rows start at the average" in out
    assert "kept, although not in the data: N" in out
    model = models.load(tmp_path / "run" / "model.eqt")
    assert model.elements == (1, 6, 7, 8, 16)
    fit(tuning(train={"max_epochs": 2}), resume=tmp_path / "run")  # knows its elements without the model file


def test_rows_of_elements_that_no_longer_occur_stay_and_a_resume_keeps_them(tuning, frames, tmp_path):
    """To the last bit, though elements that resemble them are trained."""
    ase.io.write(tmp_path / "small.xyz", relabelled(frames, {}, element=16), format="extxyz")
    _, start = prepared(tuning())
    fit(tuning(train={"max_epochs": 1}))
    fit(tuning(train={"max_epochs": 2}), resume=tmp_path / "run")
    trained = read_checkpoint(tmp_path / "run")["model"]
    nitrogen, tables = start.elements.index(7), 0
    for name, module in start.named_modules():
        if isinstance(module, ElementTable):
            tables += 1
            moved = (trained[f"{name}.weight"] != module.weight).flatten(1).any(dim=1)
            assert moved.tolist() == [i != nitrogen for i in range(5)], name
    assert tables


@pytest.mark.parametrize("head", ["keep", "new"])
def test_a_stopped_and_resumed_fine_tuning_is_the_run(tuning, tmp_path, stopped, shards, every_step, frames, head):
    """Frozen parts, learning rates, replay, a new element, and the model file gone."""
    ase.io.write(tmp_path / "old.xyz", frames, format="extxyz")
    ase.io.write(tmp_path / "small.xyz", relabelled(frames[:12], {}, element=16), format="extxyz")
    train = {"max_epochs": 3, "freeze": ["radial"], "lr": {"readout": 0.002, "default": 0.001}, "head": head}
    data = {"replay": {"path": str(tmp_path / "old.xyz"), "share": 0.3}}
    fit(tuning(output=str(tmp_path / "whole"), train=train, data=data))
    parts = tuning(output=str(tmp_path / "parts"), train=train, data=data)
    stopped(parts, calls=4)
    (tmp_path / "first" / "model.eqt").unlink()
    fit(parts, resume=tmp_path / "parts")
    whole, resumed = (read_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert whole["step"] == resumed["step"] > 4
    for key in ("model", "ema"):
        for name, value in whole[key].items():
            assert torch.equal(value, resumed[key][name]), name
    assert whole["best"] == resumed["best"] and whole["since_best"] == resumed["since_best"]
    errors = [json.loads((tmp_path / name / "summary.json").read_text())["errors"] for name in ("whole", "parts")]
    assert errors[0] == errors[1] and "replay, before the first step" in errors[0]


def test_a_model_that_training_only_makes_worse_is_kept(tuning, pretrained, tmp_path):
    fit(tuning(train={"max_epochs": 1, "lr": 3.0, "optimizer": "adam"}))
    first, after = (models.load(path).state_dict() for path in (pretrained, tmp_path / "run" / "model.eqt"))
    assert all(torch.equal(first[name], after[name]) for name in first)


def test_a_run_ends_when_validations_get_no_better(tuning, tmp_path, every_step):
    config = tuning(train={"max_epochs": 50, "lr": 3.0, "optimizer": "adam", "patience": 3})
    summary = fit(config)
    assert summary["epochs"] == pytest.approx(4, abs=1)
    assert fit(config, resume=tmp_path / "run")["steps"] == summary["steps"]


def test_replay_is_a_share_of_an_epoch(tuning, frames, tmp_path):
    ase.io.write(tmp_path / "old.xyz", frames, format="extxyz")
    source = {"path": str(tmp_path / "old.xyz"), "share": 0.25}
    data, _ = prepared(tuning(data={"replay": source}))
    own = len(data.train) - data.replayed
    assert data.replayed == round(own / 3) and [name for name, *_ in data.parts()] == ["train", "replay", "valid"]
    few, _ = prepared(tuning(data={"replay": source | {"share": 0.9}}))
    assert few.replayed == 24
    weights = np.array([few.train.snapshots[int(i)].weight for i in few.train.indices])
    assert weights[-24:].sum() / weights.sum() == pytest.approx(0.9)
    assert (few.valid.indices < 24).all() and few.valid.snapshots is not few.train.snapshots


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_the_share_of_replay_is_that_beside_sources_with_weights(tuning, frames, tmp_path, share):
    """On the structures that are trained on, after a resume too."""
    for name, some in (("a", frames[:16]), ("b", frames[16:]), ("old", frames)):
        ase.io.write(tmp_path / f"{name}.xyz", some, format="extxyz")
    sources = [{"path": str(tmp_path / "a.xyz"), "weight": 3.0}, str(tmp_path / "b.xyz")]
    replayed = {"path": str(tmp_path / "old.xyz"), "share": share}
    config = tuning(data={"train": sources, "replay": replayed, "valid_by": "frame"})
    data, model = prepared(config)
    again = open_data(config, Console(quiet=True), origin_of(data, model, {}), tmp_path)
    for opened in (data, again):
        weights = np.array([opened.train.snapshots[int(i)].weight for i in opened.train.indices])
        assert set(weights[: -opened.replayed]) == {1.0, 3.0}
        assert weights[-opened.replayed :].sum() / weights.sum() == pytest.approx(share, abs=0.02)


def test_what_is_wrong_with_a_replay_is_named(tuning):
    for replayed, message in (
        ({"path": "a.xyz", "shar": 0.1}, r"unknown key data\.replay\.shar: did you mean share"),
        ({"path": "a.xyz", "share": 1.0}, r"data\.replay\.share: .*less than 1"),
        ({"path": "a.xyz", "weight": 2.0}, r"unknown key data\.replay\.weight"),
    ):
        with pytest.raises(InputError, match=message):
            tuning(data={"replay": replayed})


def test_energies_at_two_levels_of_theory_are_refused_and_forces_alone_replayed(tuning, frames, tmp_path):
    ase.io.write(tmp_path / "old.xyz", frames, format="extxyz")
    ase.io.write(tmp_path / "small.xyz", relabelled(frames, {"C": -20.0, "O": 300.0}), format="extxyz")
    source = {"path": str(tmp_path / "old.xyz"), "share": 0.3}
    with pytest.raises(InputError, match=r"data\.replay: its energies are .* two levels of theory"):
        prepared(tuning(data={"replay": source}))
    forces, _ = prepared(tuning(data={"replay": source | {"labels": ["forces"]}}))
    alone, _ = prepared(tuning())
    assert forces.e0s.values == alone.e0s.values
    old = forces.train.snapshots[int(forces.train.indices[-1])]
    assert forces.replayed and old.energy is None and old.forces is not None
    with pytest.raises(InputError, match=r"data\.replay\.labels: force is no label, which are energy, forces, stress"):
        prepared(tuning(data={"replay": source | {"labels": ["force"]}}))


def test_replay_is_drawn_by_seed_from_what_can_be_learnt(frames):
    old = Memory([structure_of(atoms) for atoms in frames])
    first, again, other = (replay(old, 0.5, 6, seed) for seed in (0, 0, 1))
    assert [s.source for s in first] == [s.source for s in again] != [s.source for s in other]
    assert len(first) == 6 and first.index.atoms.tolist() == [len(s) for s in first]


def test_a_structure_far_from_the_others_does_not_move_what_is_left():
    counts, weights = np.array([[2.0], [2.0], [4.0], [1.0]]), np.array([1.0, 1.0, 1.0, 0.5])
    left = LeftOver(counts, np.array([0.2, 0.4, 0.6, -1e9]), weights, np.arange(4))
    assert left.per_atom == pytest.approx(0.15)

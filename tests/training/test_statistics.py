"""Scale, shift and size of a batch from the training data, which a few labels that are wrong or empty do not rule."""

import copy
import re

import ase.io
import numpy as np
import pytest
from rich.console import Console

from equitensor.data import GraphDataset, Memory
from equitensor.data.absurd_labels import LabelSample
from equitensor.graph import Structure
from equitensor.training import check
from equitensor.training.limits import limits
from equitensor.training.setup import build_model, open_data
from equitensor.training.statistics import statistics

E0S = {1: -13.0, 6: -1000.0}


def structure(i, force=1.0, **changes):
    """Two atoms; components of the forces are normal with this standard deviation."""
    rng = np.random.default_rng(i)
    values = {"z": np.array([1, 6]), "pos": np.array([[0.0, 0, 0], [1.1, 0, 0]]), "source": f"a.xyz, frame {i}"}
    values |= {"cell": np.zeros((3, 3)), "pbc": np.zeros(3, bool)}
    values |= {"energy": -1017.0 + rng.normal(), "forces": force * rng.normal(size=(2, 3))}
    return Structure(**values | changes)


def statistics_of(structures):
    data = GraphDataset(Memory(structures), cutoff=3.0)
    return statistics(data, LabelSample.of(data.snapshots, data.indices, E0S))


def test_ordinary_labels_have_their_rms_and_mean():
    frames = [structure(i) for i in range(40)]
    forces = np.concatenate([f.forces for f in frames])
    assert statistics_of(frames).scale == pytest.approx(np.sqrt(np.square(forces).mean()), rel=1e-12)
    assert statistics_of(frames).shift == pytest.approx(np.mean([(f.energy + 1013.0) / 2 for f in frames]), rel=1e-12)
    assert statistics_of(frames).num_neighbors == 1.0


@pytest.mark.parametrize("absurd", [11358.0, 1e9])
def test_one_absurd_label_does_not_set_the_scale_and_is_named(absurd):
    frames = [structure(i) for i in range(40)]
    spoilt = list(frames)
    forces = frames[7].forces.copy()
    forces[1, 0] = absurd
    spoilt[7], spoilt[9] = frames[7].replace(forces=forces), frames[9].replace(energy=absurd)
    assert statistics_of(spoilt).scale == pytest.approx(statistics_of(frames).scale, rel=0.05)
    assert statistics_of(spoilt).shift == pytest.approx(statistics_of(frames).shift, abs=0.1)
    named = list(LabelSample(spoilt, E0S).absurd())
    assert [label.source for label in named] == ["a.xyz, frame 7", "a.xyz, frame 9"]
    assert f"a force of {absurd:.5g} eV/Angstrom" in str(named[0])
    assert all(label.z > 1000 for label in named)
    assert not list(LabelSample(frames, E0S).absurd())


def test_forces_of_hot_or_pressed_atoms_are_no_errors():
    """Among relaxed structures, forces of 5 eV/Angstrom are far from usual, and physics."""
    frames = [*(structure(i, 1e-5) for i in range(40)), structure(40, 3.0)]
    assert not list(LabelSample(frames, E0S).absurd())


@pytest.mark.parametrize("relaxed", [10, 1000])
def test_relaxed_structures_do_not_shrink_the_scale(relaxed):
    frames = [structure(i) for i in range(20)]
    assert statistics_of([*frames, *(structure(i, 1e-5) for i in range(relaxed))]).scale == pytest.approx(
        statistics_of(frames).scale, rel=1e-3
    )


def test_relaxed_structures_alone_scale_with_their_energies():
    frames = [structure(i, 1e-5) for i in range(20)]
    assert statistics_of(frames).scale == pytest.approx(np.std([f.energy / 2 for f in frames]), rel=1e-9)
    same = [f.replace(energy=-1017.0) for f in frames]
    assert statistics_of(same).scale == 0.01


def test_structures_of_weight_zero_and_fixed_atoms_do_not_count():
    frames = [structure(i) for i in range(20)]
    strange = structure(20, 1e5, weight=0.0)
    held = frames[0].replace(forces=np.array([[9e4, 0, 0], frames[0].forces[1]]), fixed=np.array([True, False]))
    assert statistics_of([*frames, strange]) == statistics_of(frames)
    assert not list(LabelSample(frames, E0S).absurd(LabelSample([strange, held], E0S)))


def said(config, capsys):
    check(config)
    return " ".join(capsys.readouterr().out.split())


def test_the_chosen_batch_is_said_and_a_given_one_is_kept(config, capsys):
    assert re.search(
        r"edges per batch: \d+, about 10 structures \(change", said(config(train={"batch_size": None}), capsys)
    )
    assert "edges per batch" not in said(config(), capsys)


def test_absurd_labels_are_named_with_what_to_do(config, frames, tmp_path, capsys):
    spoilt = copy.deepcopy(frames)
    spoilt[3].calc.results["forces"][4, 2] = -11358.0
    ase.io.write(tmp_path / "small.xyz", spoilt, format="extxyz")
    data = {"valid_fraction": 0.0}
    out = said(config(data=data), capsys)
    assert "absurd labels in train: " in out
    assert "small.xyz, frame 3: a force of 11358 eV/Angstrom" in out
    assert "repair or remove" in out
    scale = build(config(data=data)).scale
    ase.io.write(tmp_path / "small.xyz", frames, format="extxyz")
    assert scale == pytest.approx(build(config(data=data)).scale, rel=0.01)
    assert "absurd" not in said(config(data=data), capsys)


def test_a_unit_that_is_wrong_in_all_parts_of_a_file_is_said_once(config, frames, tmp_path, capsys):
    spoilt = copy.deepcopy(frames)
    for atoms in spoilt:
        atoms.calc.results["energy"] *= 10000.0
    ase.io.write(tmp_path / "small.xyz", spoilt, format="extxyz")
    out = said(config(data={"valid_fraction": 0.3}), capsys)
    assert out.count("times the energy of the atoms with all their electrons") == 1


def build(config):
    quiet = Console(quiet=True)
    return build_model(config, open_data(config, quiet))


def test_stress_labels_that_are_not_trained_on_are_said(config, crystal, tmp_path, capsys):
    ase.io.write(tmp_path / "small.xyz", [crystal(i, stress=i > 3) for i in range(10)], format="extxyz")
    data = {"group_key": None, "valid_fraction": 0.0, "e0s": {"C": -1035.0}}
    assert "stress labels in 6 structures are not trained on: set loss.stress" in said(
        config(data=data, loss={"stress": 0.0}), capsys
    )
    printed = said(config(data=data), capsys)
    assert "x (virial per atom)^2 in eV/atom, 6 structures" in printed
    assert "10 (300 from 75% of the run on) x (energy per atom)^2 in eV/atom, 10 structures" in printed
    assert "not trained on" not in said(config(data=data, loss={"stress": 1.0}), capsys)


def test_a_stress_that_is_asked_for_but_not_there_is_said(config, capsys):
    assert "loss.stress is 5, but no training structure has stress labels" in said(config(loss={"stress": 5.0}), capsys)


def test_sources_reach_training_with_their_weights_and_keys(config, frames, tmp_path):
    for name, key in (("a", "E1"), ("b", "E2")):
        some = [atoms.copy() for atoms in frames[:6]]
        for atoms in some:
            atoms.info[key] = -10.0
        ase.io.write(tmp_path / f"{name}.xyz", some, format="extxyz")
    a, b = ({"path": str(tmp_path / f"{name}.xyz"), "energy_key": key} for name, key in (("a", "E1"), ("b", "E2")))
    data = open_data(
        config(data={"train": [a, {**b, "weight": 3}], "valid": b, "test": a, "group_key": None}), Console(quiet=True)
    )
    assert [s.weight for s in data.train.snapshots] == [1.0] * 6 + [3.0] * 6
    assert data.valid.snapshots[0].energy == data.tests["test"][0].energy == -10.0


def test_virials_count_linearly_beyond_three_times_their_usual_size_whatever_the_forces(crystal):
    """1 % of absurd stresses do not set it; a forces' scale of any size does not either."""
    rng = np.random.default_rng(0)
    frames = [Structure.from_ase(crystal(i)) for i in range(200)]
    virials = 0.2 * rng.normal(size=(200, 3, 3))
    virials[:2] *= 1e4
    frames = [s.replace(stress=v * 2 / abs(np.linalg.det(s.cell))) for s, v in zip(frames, virials, strict=True)]
    known = limits(GraphDataset(Memory(frames)), {6: -1035.0}, 7.0)
    assert known["stress"] == pytest.approx(3 * 0.2, rel=0.05)
    assert known["forces"] == known["energy"] == 7.0
    assert limits(GraphDataset(Memory([structure(0)])), E0S, 7.0)["stress"] == np.inf


def test_forces_that_are_small_but_for_a_few_count_linearly_from_three_times_their_usual_size(crystal):
    """Gaussian ones keep the scale, their RMS: three times their usual size is beyond it."""
    rng = np.random.default_rng(0)
    frames = [Structure.from_ase(crystal(i)) for i in range(200)]
    forces = [0.05 * rng.normal(size=s.pos.shape) for s in frames]
    small = [s.replace(forces=f) for s, f in zip(frames, forces, strict=True)]
    assert limits(GraphDataset(Memory(small)), {6: -1035.0}, 0.05)["forces"] == 0.05
    mixed = small[:190] + [s.replace(forces=400 * s.forces) for s in small[190:]]
    scale = float(np.sqrt(np.mean([np.square(s.forces).mean() for s in mixed])))
    known = limits(GraphDataset(Memory(mixed)), {6: -1035.0}, scale)
    assert scale > 3 and known["forces"] == known["energy"] == pytest.approx(3 * 0.05, rel=0.1)

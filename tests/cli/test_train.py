"""`equitensor train` as a user calls it: wrong input is one message and code 2."""

import re

import ase.io
import numpy as np
import pytest
import torch
import yaml

from equitensor.cli import main


@pytest.fixture(scope="module")
def frames(alanine_data):
    return ase.io.read(alanine_data / "train.xyz", ":24")


@pytest.fixture
def workplace(tmp_path, monkeypatch, frames):
    """A working directory with 24 frames of alanine and a config for a tiny model."""
    monkeypatch.chdir(tmp_path)
    ase.io.write("data.xyz", frames, format="extxyz")
    config = {
        "data": {"train": "data.xyz", "valid_fraction": 0.2},
        "model": {"cutoff": 3.0, "channels": 4, "edge_channels": 4, "lmax": 1, "layers": 1, "num_radial": 4},
        "train": {"batch_size": 8, "max_epochs": 1, "device": "cpu"},
        "output": "run",
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def refused(capsys, *argv, command="train"):
    """The one line of an error with code 2."""
    capsys.readouterr()
    assert main([command, *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("equitensor: ")
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return error


def labelled(frames, **changes):
    """Frames with labels replaced (None: taken away)."""
    from ase.calculators.singlepoint import SinglePointCalculator

    made = []
    for atoms in frames:
        results = atoms.calc.results | {name: f(atoms.calc.results) if f else None for name, f in changes.items()}
        atoms = atoms.copy()
        kept = {k: results[k] for k in ("energy", "forces") if results.get(k) is not None}
        atoms.calc = SinglePointCalculator(atoms, **kept)
        made.append(atoms)
    return made


def test_train_then_resume_then_use(workplace, capsys):
    assert main(["train", "train.yaml", "output=first"]) == 0
    out = capsys.readouterr().out
    for words in ("with energy", "RMS force component", "E0s:", "Errors of the best model", "first/model.eqt"):
        assert words in out
    assert main(["train", "--resume", "first", "train.max_epochs=2"]) == 0
    assert "2 epochs, 4 steps" in capsys.readouterr().out
    assert main(["train", "train.yaml", "--resume", "first", "train.max_epochs=3"]) == 0
    assert main(["info", "first/model.eqt"]) == 0


def test_check(workplace, capsys):
    assert main(["train", "train.yaml", "--check"]) == 0
    assert "Everything is in order" in capsys.readouterr().out
    assert not (workplace / "run").exists()


@pytest.mark.parametrize(
    "argv, message",
    [
        (["nothing.yaml"], r"nothing\.yaml: there is no such config file"),
        ([], "which config"),
        (["train.yaml", "model.chanels=3"], r"unknown key model\.chanels: did you mean channels\?"),
        (["train.yaml", "train.lr"], r"'train\.lr' is not of the form"),
        (["train.yaml", "model.lmax=high"], r"model\.lmax: .*'high'"),
        (["train.yaml", "model.architecture=schnet"], r"model\.architecture is 'schnet': choose one of"),
        (["train.yaml", "model.product=wigner"], r"wigner"),
        (["train.yaml", "data.train=absent.xyz"], r"absent\.xyz"),
        (["train.yaml", "data.test=absent.xyz"], r"absent\.xyz"),
        (["train.yaml", "data.energy_key=dft"], r"dft"),
        (["train.yaml", "data.e0s={C: -3}"], r"no E0 for H, N, O"),
        (["train.yaml", "data.e0s=absent.json"], r"absent\.json: no such file"),
        (["train.yaml", "data.valid_fraction=1.5"], r"data\.valid_fraction"),
        (["train.yaml", "train.max_time=1h"], r"train\.max_time: '1h' is not a time"),
        (["train.yaml", "train.init_from=absent.eqt"], r"absent\.eqt: there is no such model file"),
        (["train.yaml", "train.init_from=data.xyz"], r"data\.xyz is not a model file"),
        (["train.yaml", "train.device=tpu"], r"train\.device is 'tpu'"),
        (["train.yaml", "train.device=mps"], r"train\.device is 'mps': say auto, cpu or cuda"),
        (["train.yaml", "seed=-1"], r"seed: .*greater than or equal to 0"),
        (["train.yaml", "train.lr=1e30", "train.clip=1.0", "train.max_epochs=9"], r"the loss is .* lower train\.clip"),
        (
            ["train.yaml", "loss.forces=0", "loss.energy=0", "loss.energy_late=0", "loss.stress=0"],
            "nothing to learn from",
        ),
        (["train.yaml", "train.lr=1e30", "train.max_epochs=9"], r"the loss is .* and the 9 before: lower train\.lr"),
        (["train.yaml", "output=."], r"\. is not empty"),
        (["train.yaml", "output=data.xyz"], r"data\.xyz"),
        (["--resume", "absent"], r"absent/config\.yaml: there is no such config file"),
        (["train.yaml", "--resume", "."], "not the folder of a run"),
    ],
)
def test_wrong_input_is_one_message_and_code_2(workplace, capsys, argv, message):
    assert re.search(message, refused(capsys, *argv))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(workplace, capsys):
    assert "torch sees no GPU here" in refused(capsys, "train.yaml", "train.device=cuda")


def test_a_second_run_does_not_overwrite_the_first(workplace, capsys):
    assert main(["train", "train.yaml"]) == 0
    before = (workplace / "run" / "model.eqt").read_bytes()
    assert "run is not empty: choose another folder (output=...)" in refused(capsys, "train.yaml")
    assert "model.channels was 4, is 8" in refused(capsys, "train.yaml", "--resume", "run", "model.channels=8")
    assert (workplace / "run" / "model.eqt").read_bytes() == before


def test_no_energies(workplace, frames, capsys):
    ase.io.write("data.xyz", labelled(frames, energy=None), format="extxyz")
    error = refused(capsys, "train.yaml")
    assert "data.xyz: no energies to fit E0s to; give them as data.e0s" in error


def test_no_labels(workplace, frames, capsys):
    ase.io.write("data.xyz", labelled(frames, energy=None, forces=None), format="extxyz")
    assert "data.xyz: no energy, forces or stress found" in refused(capsys, "train.yaml")


def test_forces_that_are_not_numbers(workplace, frames, capsys):
    def broken(results):
        forces = results["forces"].copy()
        forces[5, 1] = np.nan
        return forces

    ase.io.write("data.xyz", [*frames[:7], *labelled(frames[7:8], forces=broken), *frames[8:]], format="extxyz")
    error = refused(capsys, "train.yaml")
    assert re.search(r"data\.xyz, frame 7.*forces of atom 5", error)


def test_units_that_disagree_are_a_warning(workplace, alanine_data, capsys):
    frames = ase.io.read(alanine_data / "train.xyz", ":120")
    wrong = labelled(frames, energy=lambda results: results["energy"] * 23.06)
    ase.io.write("data.xyz", wrong, format="extxyz")
    assert main(["train", "train.yaml", "--check"]) == 0
    out = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "warning:" in out
    assert "energies and forces disagree" in out


def test_validation_data_with_other_elements(workplace, capsys):
    from ase.build import molecule

    ase.io.write("valid.xyz", labelled_anew(molecule("SiH4")), format="extxyz")
    assert "Si" in refused(capsys, "train.yaml", "data.valid=valid.xyz")


def test_test_data_that_the_model_cannot_know(workplace, capsys):
    """Found before the training, not after it."""
    from ase.build import molecule

    ase.io.write("hot.xyz", labelled_anew(molecule("SiH4")), format="extxyz")
    assert "Si" in refused(capsys, "train.yaml", "data.test=hot.xyz")
    assert not (workplace / "run" / "model.eqt").exists()


def labelled_anew(atoms):
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((len(atoms), 3)))
    return [atoms]


def test_an_element_that_the_model_does_not_know_at_md(trained_file, workplace, capsys):
    from ase.build import molecule

    ase.io.write("silane.xyz", molecule("SiH4"))
    error = refused(capsys, str(trained_file), "silane.xyz", "--steps", "5", command="md")
    assert re.search(r"holds Si .*trained on H, C, N, O only", error)

"""md, relax, info and eval as a user calls them."""

import json
import re

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixedLine, FixScaled

from equitensor.cli import main
from equitensor.interfaces import Calculator


def md(model_file, *extra, steps=20):
    return main(["md", str(model_file), "--device", "cpu", "--steps", str(steps), *extra])


def test_md_writes_a_trajectory_a_table_and_a_plot(model_file, folder, capsys):
    assert md(model_file, "molecule.xyz", "--temperature", "200") == 0
    out = capsys.readouterr().out
    for words in ("drift of the total energy", "meV/atom/ps", "steps/s", "ns/day", "molecule-md.traj"):
        assert words in out
    frames = ase.io.read("molecule-md.traj", index=":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20]
    assert (folder / "molecule-md.csv").exists()
    assert (folder / "molecule-md.png").exists()


def test_md_restarts_where_it_stopped(model_file, folder):
    assert md(model_file, "molecule.xyz", "--out", "whole.traj", "--dtype", "float64", steps=30) == 0
    assert md(model_file, "molecule.xyz", "--out", "parts.traj", "--dtype", "float64", steps=20) == 0
    assert md(model_file, "--restart", "parts.traj", "--dtype", "float64", steps=10) == 0
    whole, parts = (ase.io.read(name, index=":") for name in ("whole.traj", "parts.traj"))
    assert [frame.info["step"] for frame in parts] == [0, 10, 20, 30]
    np.testing.assert_array_equal(parts[-1].positions, whole[-1].positions)
    assert md(model_file, "--restart", "parts.traj", "--out", "further.extxyz") == 0
    assert ase.io.read("further.extxyz", index=-1).info["step"] == 50


@pytest.mark.parametrize("ensemble, structure", [("nvt", "molecule.xyz"), ("npt", "crystal.cif")])
def test_md_runs_with_a_thermostat(model_file, folder, ensemble, structure, capsys):
    assert md(model_file, structure, "--ensemble", ensemble, "--out", "run.extxyz", steps=3) == 0
    assert "mean temperature" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, message",
    [
        (["silane.xyz"], r"silane\.xyz: the structure holds Si .*H, C, O only"),
        (["molecule.xyz@7"], r"molecule\.xyz: ASE finds no structure number 7"),
        (["placeholder.extxyz"], r"placeholder\.extxyz: the cell .* looks like a placeholder"),
        (["onto.xyz"], r"onto\.xyz: atoms 0 and 1 are in the same place"),
        (["nothing.xyz"], r"nothing\.xyz: no such file"),
        (["model.txt"], r"model\.txt: ASE finds no structure in it"),
        ([], "STRUCTURE is missing"),
        (["molecule.xyz", "--ensemble", "npt"], "npt needs a structure that is periodic"),
        (["molecule.xyz", "--timestep", "0"], "timestep is 0"),
        (["molecule.xyz", "--out", "run.pdb"], r"run\.pdb: a trajectory ends in \.traj"),
        (["molecule.xyz", "--out", "there.traj"], r"there\.traj exists"),
        (["--restart", "molecule.xyz"], "no step or velocities"),
        (["molecule.xyz", "--device", "gpu"], "device 'gpu' is unknown"),
        (["molecule.xyz", "--device", "mps"], "device 'mps' is .*: say auto, cpu"),
        (["molecule.xyz", "--device", "meta"], "device 'meta' is not one that models are made for"),
        (["molecule.xyz", "--seed", "-1"], "seed is -1; it must be 0 or more"),
    ],
)
def test_md_bad_input_is_one_message_and_code_2(model_file, folder, argv, message, capsys):
    (folder / "model.txt").write_text("not a structure\n")
    (folder / "there.traj").write_text("")
    atoms = molecule("CH3OH")
    atoms.set_cell([1, 1, 1])
    atoms.pbc = True
    atoms.write("placeholder.extxyz")
    atoms = molecule("CH3OH")
    atoms.positions[1] = atoms.positions[0]
    atoms.write("onto.xyz")
    assert md(model_file, *argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)


def test_md_stops_with_code_1_when_the_structure_flies_apart(model_file, folder, capsys):
    atoms = molecule("CH3OH")
    atoms.positions[2] = atoms.positions[0] + [0, 0, 0.05]
    atoms.write("clash.xyz")
    assert md(model_file, "clash.xyz", "--out", "run.traj", "--timestep", "0.1", steps=500) == 1
    error = capsys.readouterr().err
    assert "step " in error
    assert "run.traj" in error
    assert len(ase.io.read("run.traj", index=":")) >= 1


def test_relax_converges_or_says_that_it_did_not(model_file, folder, capsys):
    arguments = ["relax", str(model_file), "molecule.xyz", "--device", "cpu", "--out", "done.extxyz"]
    assert main([*arguments, "--steps", "1", "--fmax", "1e-6"]) == 1
    assert "NOT converged after 1 steps" in capsys.readouterr().out
    assert main(arguments) == 2
    assert "done.extxyz exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--fmax", "0.05"]) == 0
    assert "converged after" in capsys.readouterr().out
    assert np.linalg.norm(ase.io.read("done.extxyz").get_forces(), axis=1).max() < 0.05


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--cell"], "no cell to relax"),
        (["--out", "done.abc"], "done.abc: ASE writes no files of this ending"),
        (["--fmax", "0"], "fmax is 0.0"),
    ],
)
def test_relax_bad_input(model_file, folder, extra, message, capsys):
    assert main(["relax", str(model_file), "molecule.xyz", "--device", "cpu", *extra]) == 2
    assert message in capsys.readouterr().err


def test_info_of_the_machine_and_of_a_model(model_file, folder, capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for words in ("torch", "ase", "threads", "plain torch for every operation"):
        assert words in out
    assert main(["info", str(model_file)]) == 0
    out = capsys.readouterr().out
    for words in ("cutoff", "H C O", "C -1029.000000", "forces_rmse", "0.123", "parameters"):
        assert words in out


@pytest.mark.parametrize("command", ["md", "relax", "info", "eval"])
def test_a_model_that_is_none(command, folder, capsys):
    (folder / "not.eqt").write_text("this is no model")
    further = {"md": ["molecule.xyz", "--steps", "1"], "relax": ["molecule.xyz"], "eval": ["molecule.xyz"]}
    for name in ("absent.eqt", "not.eqt"):
        assert main([command, name, *further.get(command, [])]) == 2
        error = capsys.readouterr().err
        assert name in error
        assert error.count("\n") == 1


def labelled(model_file, count=3):
    """Rattled molecules whose labels are the model's own numbers, energies shifted by 2 meV."""
    frames = []
    for seed in range(count):
        atoms = molecule("CH3OH")
        atoms.rattle(0.05, seed=seed)
        atoms.calc = Calculator(model_file, device="cpu", dtype="float64")
        energy, forces = atoms.get_potential_energy() + 0.002, atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    return frames


def test_eval_writes_errors_plots_and_predictions(model_file, folder, capsys):
    frames = labelled(model_file)
    ase.io.write("data.extxyz", frames)
    outputs = ["--json", "errors.json", "--plots", "plots", "--out", "predicted.extxyz"]
    arguments = ["eval", str(model_file), "data.extxyz", "--device", "cpu", "--dtype", "float64", *outputs]
    assert main(arguments) == 0
    assert "meV" in capsys.readouterr().out
    metrics = json.loads((folder / "errors.json").read_text())
    assert metrics["energy_mae"] == pytest.approx(0.002, abs=1e-6)
    assert metrics["energy_per_atom_rmse"] == pytest.approx(0.002 / 6, abs=1e-6)
    assert metrics["forces_mae"] == pytest.approx(0, abs=1e-6)
    assert (metrics["n_structures"], metrics["n_atoms"]) == (3, 18)
    predicted = ase.io.read("predicted.extxyz", index=":")
    for one, label in zip(predicted, frames, strict=True):
        assert one.get_potential_energy() == pytest.approx(label.get_potential_energy() - 0.002, abs=1e-6)
        assert one.info["label_energy"] == pytest.approx(label.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(one.get_forces(), label.get_forces(), atol=1e-6)
        np.testing.assert_allclose(one.arrays["label_forces"], label.get_forces(), atol=1e-6)
    assert list((folder / "plots").glob("*.png"))


def test_relax_writes_the_whole_structure_or_nothing(model_file, folder, monkeypatch):
    assert main(["relax", str(model_file), "molecule.xyz", "--device", "cpu", "--steps", "1", "--out", "a.xyz.gz"]) == 1
    assert (folder / "a.xyz.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert len(ase.io.read("a.xyz.gz")) == len(ase.io.read("molecule.xyz"))

    def half(path, atoms, format):
        with open(path, "w") as file:
            file.write("3\n\nH 0 0")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ase.io, "write", half)
    assert main(["relax", str(model_file), "molecule.xyz", "--device", "cpu", "--steps", "1", "--out", "b.xyz"]) == 2
    assert not list(folder.glob("b.xyz*"))


def test_eval_says_what_it_cannot_write(model_file, folder, capsys):
    ase.io.write("data.extxyz", labelled(model_file))
    (folder / "errors.json").mkdir()
    for option in ("--json", "--out"):
        assert main(["eval", str(model_file), "data.extxyz", "--device", "cpu", option, "errors.json"]) == 2
        assert "errors.json could not be written" in capsys.readouterr().err
    assert list(folder.glob("*.partial")) == []


def test_eval_reads_labels_by_any_name_and_unit(model_file, folder):
    frames = labelled(model_file)
    for atoms in frames:
        atoms.info["mine"], atoms.calc = 1000 * atoms.get_potential_energy(), None
    ase.io.write("data.extxyz", frames)
    options = ["--energy-key", "mine", "--energy-unit", "meV", "--json", "errors.json"]
    assert main(["eval", str(model_file), "data.extxyz", "--device", "cpu", *options]) == 0
    assert json.loads((folder / "errors.json").read_text())["energy_mae"] == pytest.approx(0.002, abs=1e-4)


def test_relax_keeps_what_is_not_a_label(model_file, folder, capsys):
    atoms = molecule("CH3OH")
    atoms.rattle(0.02, seed=0)
    atoms.info |= {"name": "methanol", "charge": 0, "REF_energy": -1.0}
    atoms.arrays |= {"residue": np.array(["MOH"] * 6), "site": np.arange(6), "dft_forces": np.ones((6, 3))}
    atoms.set_initial_charges([0.1, -0.1, 0, 0, 0, 0])
    ase.io.write("labelled.extxyz", atoms)
    arguments = ["relax", str(model_file), "labelled.extxyz", "--device", "cpu", "--steps", "2", "--fmax", "1e-9"]
    assert main(arguments) == 1
    assert "belong to the initial structure: REF_energy, dft_forces" in capsys.readouterr().out
    relaxed = ase.io.read("labelled-relaxed.extxyz")
    assert relaxed.info == {"name": "methanol", "charge": 0}
    assert relaxed.arrays["residue"].tolist() == ["MOH"] * 6 and relaxed.arrays["site"].tolist() == list(range(6))
    assert relaxed.get_initial_charges()[0] == 0.1
    assert set(relaxed.arrays) == {"numbers", "positions", "residue", "site", "initial_charges"}
    assert relaxed.calc.results["energy"] < -1000


def crystal_poscar():
    """A crystal as POSCAR, one atom held, one along c only."""
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.02, seed=0)
    atoms.set_constraint([FixAtoms([0]), FixScaled([1], (False, False, True))])
    ase.io.write("POSCAR", atoms, format="vasp")
    return atoms


def test_what_is_written_is_named_for_the_file_without_its_index(model_file, folder):
    crystal_poscar()
    assert md(model_file, "POSCAR@0", steps=0) == 0
    assert main(["relax", str(model_file), "POSCAR@0", "--device", "cpu", "--fmax", "1e3"]) == 0
    assert (folder / "POSCAR-md.traj").exists() and (folder / "POSCAR-relaxed.extxyz").exists()


def test_structures_named_like_vasps_are_written_by_their_ending(model_file, folder):
    atoms = crystal_poscar()
    assert main(["relax", str(model_file), "POSCAR", "--device", "cpu", "--steps", "2", "--fmax", "1e-9"]) == 1
    relaxed = ase.io.read("POSCAR-relaxed.extxyz", format="extxyz")
    np.testing.assert_allclose(relaxed.positions[0], atoms.positions[0], atol=1e-7)
    assert relaxed.positions[1, 2] == pytest.approx(atoms.positions[1, 2], abs=1e-7)
    assert np.abs(relaxed.positions - atoms.positions).max() > 1e-5
    again = [c for c in relaxed.constraints if np.any(c.mask)]
    assert [(c.index.tolist(), c.mask.tolist()) for c in again] == [([0], [True] * 3), ([1], [False, False, True])]


def test_a_trajectory_of_a_poscar_restarts_and_stays_held(model_file, folder, capsys):
    atoms = crystal_poscar()
    for out in ("POSCAR-md.traj", "POSCAR.xyz"):
        assert md(model_file, "POSCAR", "--out", out, "--ensemble", "nvt", steps=5) == 0
        assert md(model_file, "POSCAR", "--restart", out, "--ensemble", "nvt", steps=5) == 0
        last = ase.io.read(out, index=-1, format="traj" if out.endswith("traj") else "extxyz")
        assert last.info["step"] == 10
        np.testing.assert_allclose(last.positions[0], atoms.positions[0], atol=1e-7)
        assert last.positions[1, 2] == pytest.approx(atoms.positions[1, 2], abs=1e-7)
    atoms.set_constraint()
    ase.io.write("free.cif", atoms)
    capsys.readouterr()
    assert md(model_file, "free.cif", "--restart", "POSCAR-md.traj", steps=5) == 2
    assert "free.cif has no constraints, POSCAR-md.traj FixAtoms, FixCartesian" in capsys.readouterr().err


def test_relax_says_which_constraint_a_file_loses(model_file, folder, capsys):
    atoms = molecule("CH3OH")
    atoms.set_constraint(FixedLine([0], (1, 1, 1)))
    ase.io.write("line.traj", atoms)
    main(["relax", str(model_file), "line.traj", "--device", "cpu", "--steps", "1"])
    assert "line-relaxed.extxyz: extended xyz cannot store FixedLine; a .traj file can" in capsys.readouterr().err


def test_eval_predicts_for_structures_without_labels(model_file, folder, capsys):
    ase.io.write("bare.extxyz", [molecule("CH3OH"), molecule("H2O")])
    arguments = ["eval", str(model_file), "bare.extxyz", "--device", "cpu", "--dtype", "float64"]
    assert main([*arguments, "--out", "predicted.extxyz", "--json", "errors.json"]) == 0
    out = capsys.readouterr().out
    predicted = ase.io.read("predicted.extxyz", index=":")
    for atoms, formula in zip(predicted, ("CH4O", "H2O"), strict=True):
        atoms.calc, energy = Calculator(model_file, device="cpu", dtype="float64"), atoms.get_potential_energy()
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
        assert re.search(rf"{formula} .* {energy:.6f} ", out)
        assert "label_energy" not in atoms.info
    metrics = json.loads((folder / "errors.json").read_text())
    assert metrics["energy_mae"] is None and metrics["n_structures"] == 2
    assert main([*arguments, "--plots", "plots"]) == 2
    assert "no labels to plot" in capsys.readouterr().err
    assert main(["eval", str(model_file), "crystal.cif", "--device", "cpu"]) == 0
    assert "C8" in capsys.readouterr().out

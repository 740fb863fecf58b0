"""Sets of many elements: what is chosen for them, and what stays as it was given, begun or trained."""

import ase.io
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from equitensor import models
from equitensor.training import fit
from equitensor.training.setup import open_data

TEN = ("H", "Li", "B", "C", "N", "O", "F", "Na", "Mg", "Al")


@pytest.fixture
def varied(tmp_path):
    """varied(elements) -> data whose frames are pairs of neighbours in that list, in a cell."""

    def write(elements):
        frames = []
        for k in range(12):
            a, b = elements[k % len(elements)], elements[(k + 1) % len(elements)]
            atoms = Atoms([a, b], [[0, 0, 0], [1.5 + 0.01 * k, 0, 0]], cell=[3.2, 3.0, 3.1], pbc=True)
            forces = [[0.1, 0, 0], [-0.1, 0, 0]]
            atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * k, forces=forces, stress=[0.01] * 6)
            frames.append(atoms)
        path = tmp_path / f"{len(elements)}.xyz"
        ase.io.write(path, frames, format="extxyz")
        return {"train": str(path), "group_key": None, "valid_fraction": 0.2}

    return write


def chosen(config):
    return open_data(config, Console(quiet=True)).config


def test_ten_elements_are_many_and_what_is_given_stays(config, varied, capsys):
    many = open_data(config(data=varied(TEN)), Console(width=200)).config
    assert many.model.normalized is True and many.loss.energy == many.loss.energy_late
    said = capsys.readouterr().out
    assert "10 elements; defaults for many elements: model.normalized=true, " in said
    assert f"loss.energy_late={many.loss.energy_late:g}" in said and "x (energy per atom)^2" in said
    assert f"loss: {many.loss.energy:g} x (energy per atom)^2" in said  # the weights that are trained with

    own = chosen(config(data=varied(TEN), model={"normalized": False}, loss={"energy_late": 7.0}))
    assert own.model.normalized is False and own.model.repulsion is True
    assert own.loss.energy_late == 7.0 and own.loss.energy == many.loss.energy

    walled = chosen(config(data=varied(TEN), model={"zbl": True}))
    assert walled.model.normalized is True and walled.model.repulsion is False

    nine = config(data=varied(TEN[:9]))
    assert chosen(nine) == nine
    other = config(data=varied(TEN), model={"architecture": "dimenet++", "lmax": None, "layers": None, "channels": 4})
    assert chosen(other) == other


def test_a_run_keeps_its_choices_and_a_trained_model_its_own(config, varied, tmp_path, monkeypatch):
    begun = config(data=varied(TEN), train={"max_epochs": 1})
    fit(begun)
    header = models.read_header(tmp_path / "run" / "model.eqt")
    assert header["settings"]["normalized"] is True and header["settings"]["repulsion"] is True
    begins = models.load(tmp_path / "run" / "model.eqt").repulsion.begins
    assert float(begins[0, 1]) > 0.85 * (0.31 + 1.28)  # of H and Li, which the data have; 0.8 without
    assert header["provenance"]["config"]["loss"]["energy_late"] == chosen(begun).loss.energy_late

    monkeypatch.setattr("equitensor.training.many_elements.MANY", 100)  # another rule since
    fit(config(data=varied(TEN), train={"max_epochs": 2}), resume=tmp_path / "run")
    assert models.read_header(tmp_path / "run" / "model.eqt")["settings"]["normalized"] is True

    monkeypatch.setattr("equitensor.training.many_elements.MANY", 10)
    sums = config(data=varied(TEN), model={"normalized": False}, train={"max_epochs": 1}, output=str(tmp_path / "sums"))
    fit(sums)
    tuned = {"max_epochs": 1, "init_from": str(tmp_path / "sums" / "model.eqt")}
    fit(config(data=varied(TEN), train=tuned, output=str(tmp_path / "tuned")))
    assert models.read_header(tmp_path / "tuned" / "model.eqt")["settings"]["normalized"] is False

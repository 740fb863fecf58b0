"""A label that nothing in the package knows, a dipole, goes through file, store, training and evaluation."""

import csv
from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from equitensor import models
from equitensor.cli import main
from equitensor.data import Store, convert, coverage, open_snapshots
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure, units
from equitensor.graph.labels import Form, Label, Quantity, names, registered
from equitensor.models import Backbone
from equitensor.models.architectures import registered as registered_architecture
from equitensor.nn.weights import ElementTable
from equitensor.training import evaluate, fit
from equitensor.training.config import validate
from equitensor.training.errors import errors_of
from equitensor.training.loss import loss, residuals

DIPOLE = Label(
    name="dipole",
    per_atom=False,
    shape=(3,),
    unit="e Angstrom",
    parse_unit=units.parser({"e Angstrom": 1.0, "debye": 0.2081943}),
    dimension=(0, 1),
    forms=(Form("", r"dipole(?:_moment)?s?"),),
    bit=0,
    quantities=(Quantity("dipole", "e A", "dipole"),),
    term="dipole",
    weight=1.0,
)


DEBYE = 0.2081943  # e Angstrom
CHARGES = {1: 0.3, 6: -0.2, 7: 0.1, 8: -0.4}


class DipoleModel(Backbone):
    """Energies 0 and the dipole sum_i q_{z_i} sum_j (1 - d_ij / c)^2 r_ij, with a charge per element to be learnt."""

    def __init__(self, num_elements: int, cutoff: float, num_neighbors: float = 1.0) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.charges, self.energies = ElementTable(num_elements, std=0.1), ElementTable(num_elements, std=0.0)

    def forward(self, species, rows):
        near = (1 - rows.vectors.norm(dim=2, keepdim=True) / self.cutoff).clamp(min=0).square()
        dipoles = self.charges(species)[:, None] * (near * rows.vectors).sum(1)
        return self.energies(species), dipoles.norm(dim=1, keepdim=True), {"dipole": dipoles}


@pytest.fixture
def dipole():
    with registered(DIPOLE) as label, registered_architecture("dipoles", DipoleModel):
        yield label


@pytest.fixture
def file(dipole, frames, tmp_path):
    return write(frames, tmp_path / "dipoles.xyz")


def write(frames, path):
    """Molecules with dipoles in Debye, all but the last."""
    model = models.build({"architecture": "dipoles", "cutoff": 3.0}, CHARGES, dict.fromkeys(CHARGES, -1.0)).double()
    model.backbone.charges.weight.data = torch.tensor(list(CHARGES.values()), dtype=torch.float64)
    bare = [Atoms(atoms.numbers, atoms.positions, info={"trajectory": atoms.info["trajectory"]}) for atoms in frames]
    for atoms in bare[:-1]:
        graph = AtomicGraph.from_structure(Structure.from_ase(atoms), 3.0)
        atoms.info["REF_dipole"] = model(graph)["dipole"][0].detach().numpy() / DEBYE
    ase.io.write(path, bare, format="extxyz")
    return path


def test_a_dipole_goes_from_a_file_through_a_store_and_training_to_its_errors(dipole, file, tmp_path, capsys):
    store = convert(file, tmp_path / "a.lmdb", dipole_unit="Debye", group_key="trajectory")
    assert store.index.has(dipole).sum() == 23
    read = open_snapshots(file, dipole_unit="Debye")
    assert np.array_equal(store[3].dipole, read[3].dipole) and store[23].dipole is None
    assert coverage(store).labels == {"energy": 0, "forces": 0, "stress": 0, "dipole": 23}
    values = {
        "data": {"train": str(file), "dipole_unit": "Debye", "e0s": dict.fromkeys("HCNO", -1.0), "valid_fraction": 0.3},
        "model": {"architecture": "dipoles", "cutoff": 3.0},
        "train": {"optimizer": "adam", "lr": 0.05, "max_epochs": 60, "ema": 0.0, "batch_size": 4, "device": "cpu"},
        "loss": {"dipole": 5.0},
        "output": str(tmp_path / "run"),
    }
    errors = fit(validate(values, "the test's config"))["errors"]
    assert errors["valid"]["dipole_mae"] < 0.01 * errors["valid, E0s and zero forces"]["dipole_mae"]
    assert "5 x (dipole)^2 in e A" in capsys.readouterr().out
    with open(tmp_path / "run" / "metrics.csv", newline="") as written:
        last = list(csv.DictReader(written))[-1]
    assert float(last["valid_dipole_rmse"]) == pytest.approx(errors["valid"]["dipole_rmse"], rel=1e-6)
    model = models.load(tmp_path / "run" / "model.eqt")
    learnt = dict(zip(model.elements, model.backbone.charges.weight.tolist(), strict=True))
    beyond = learnt[1] - CHARGES[1]  # the same for all elements makes no dipole: r_ij = -r_ji
    assert {z: charge - beyond for z, charge in learnt.items()} == pytest.approx(CHARGES, abs=0.01)
    evaluation = evaluate(model, store)
    assert evaluation.metrics["dipole_mae"] < 1e-2 and "dipole" in evaluation.table()


def test_numbers_of_atoms_are_labels_too(frames, tmp_path):
    """Charges: a column in the file, an array in the store, NaN in a graph of a structure without them."""
    charges = replace(
        DIPOLE,
        name="charges",
        per_atom=True,
        shape=(),
        moving_only=True,
        forms=(Form("", "charges?"),),
        quantities=(Quantity("charges", "e", "charges"),),
        term="charges",
    )
    with registered(charges):
        frames = [atoms.copy() for atoms in frames[:2]]
        frames[0].new_array("REF_charges", 0.1 * frames[0].numbers)
        ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
        first, second = convert(tmp_path / "a.xyz", tmp_path / "a.lmdb")
        assert np.allclose(first.charges, 0.1 * first.z) and second.charges is None
        first = first.replace(fixed=first.z == 1)
        graph = AtomicGraph.collate([AtomicGraph.from_structure(s, 3.0) for s in (first, second)])
        predicted = {"energy": torch.zeros(2, dtype=torch.float64), "charges": 0.1 * graph.z.double() + 0.5}
        labels_read = residuals(predicted, graph)
        assert labels_read["charges"].tolist() == pytest.approx([0.5] * int((first.z > 1).sum()))
        assert float(loss(labels_read, dict.fromkeys(names(), 2.0))) == pytest.approx(2 * 0.25)
        errors = errors_of(first, second.replace(charges=0.1 * first.z + 0.5))
        assert errors["charges"].tolist() == labels_read["charges"].tolist()


def test_the_command_line_and_the_config_list_the_options_of_a_label(dipole, file, tmp_path, capsys):
    assert main(["data", "convert", str(file), str(tmp_path / "a.lmdb"), "--dipole-unit", "Debye"]) == 0
    assert "with dipole" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"'mebye'; known: e Angstrom, debye"):
        convert(file, tmp_path / "b.lmdb", dipole_unit="mebye")
    with pytest.raises(InputError, match=r"loss\.dipol: did you mean dipole\?"):
        validate({"data": {"train": "a"}, "loss": {"dipol": 1}}, "a config")


def test_a_store_says_which_labels_it_holds_that_are_not_known(frames, tmp_path, caplog):
    with registered(DIPOLE), registered_architecture("dipoles", DipoleModel):
        convert(write(frames, tmp_path / "a.xyz"), tmp_path / "a.lmdb", dipole_unit="Debye")
    store = Store(tmp_path / "a.lmdb")
    assert store[0].energy is None and not store.index.has_any.any()
    assert "labels of a kind that is not known here, dipole" in caplog.text


def test_nothing_of_it_is_left_afterwards():
    assert names() == ("energy", "forces", "stress")
    with pytest.raises(InputError, match="its name or bit is taken"), registered(replace(DIPOLE, name="energy")):
        pass
    with pytest.raises(TypeError, match="no field or label 'dipole'"):
        Structure.of(z=np.ones(1, int), pos=np.zeros((1, 3)), cell=np.zeros((3, 3)), pbc=np.zeros(3, bool), dipole=1)

"""A package of somebody else, `package/dimers`, from the command line: format, label, architecture, tensor product."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from equitensor import models
from equitensor.cli.main import main
from equitensor.errors import InputError
from equitensor.graph.labels import names
from equitensor.nn import Convolution, Interaction
from equitensor.nn.natural_coupling import natural_coupling
from equitensor.nn.product_families import FAMILIES
from equitensor.registry import Registry
from equitensor.testing import assert_equivariant

PACKAGE = Path(__file__).parent / "package"
IRREPS = "4x0e+4x1o+4x2e"


@pytest.fixture
def run(tmp_path):
    """run(*words) -> what a command in a folder with a.dimers prints; in a process of its own, as the table of labels
    is filled once in each."""
    distances = np.linspace(0.7, 2.0, 40)
    lines = [f"H O {d:.4f} {-4.4 * np.exp(-((d - 0.97) ** 2)):.5f} {0.3 * d:.5f}\n" for d in distances]
    (tmp_path / "a.dimers").write_text("".join(lines))
    (tmp_path / "train.yaml").write_text(
        "data: {train: a.dimers, offset: 0.5, e0s: {H: 0.0, O: 0.0}, valid_by: frame}\n"
        "train: {max_epochs: 30, device: cpu, threads: 1}\n"
    )
    path = os.pathsep.join([str(PACKAGE), str(Path(models.__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def run(*words):
        command = [sys.executable, "-m", "equitensor", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


def test_format_label_and_architecture_from_the_command_line(run, tmp_path):
    shown = run("train", "train.yaml", "model.architecture=pairs", "model.num_radial=6", "loss.dipole=5", "output=run")
    assert "model: pairs" in shown and "5 x (dipole)^2 in e A" in shown
    header = models.read_header(tmp_path / "run" / "model.eqt")
    assert header["settings"]["architecture"] == "pairs" and header["settings"]["num_radial"] == 6
    table = run("eval", "run/model.eqt", "a.dimers", "--offset", "0.5")
    assert "dipole" in table
    with pytest.raises(InputError, match=r"model\.eqt: model\.architecture is 'pairs'.*of what dimers 1\.0 brought"):
        models.load(tmp_path / "run" / "model.eqt")  # here the package is not installed


def test_a_label_that_the_architecture_does_not_predict_is_named(run, tmp_path):
    small = ["model.channels=4", "model.edge_channels=4", "model.lmax=1", "model.layers=1", "train.max_epochs=1"]
    shown = run("train", "train.yaml", "loss.dipole=5", "output=run", *small)
    assert "Directional does not predict dipole: these labels are not learned" in shown


def test_a_tensor_product_from_the_command_line(run, tmp_path):
    settings = [f"model.{each}" for each in ("product=scalar", "channels=4", "edge_channels=4", "lmax=1", "cutoff=3")]
    shown = run("train", "train.yaml", *settings, "train.max_epochs=2", "output=run")
    assert "product='scalar' has no compiled operators" in shown and "plain torch computes it" in shown
    assert "MAE" in run("eval", "run/model.eqt", "a.dimers")
    assert 'its product "scalar" is one for the torch backend' in run("info", "run/model.eqt")


@pytest.fixture
def package(monkeypatch):
    names()  # the table of labels is filled before the package is there
    monkeypatch.syspath_prepend(str(PACKAGE))


def test_layers_of_the_product(package):
    layer = Interaction(IRREPS, IRREPS, IRREPS, "scalar").double()
    assert_equivariant(layer, [IRREPS, IRREPS], IRREPS)
    with pytest.raises(InputError, match=r"cannot make 1e .*: one of the two must be a scalar"):
        Interaction("4x1o", "4x1o", "4x1e", "scalar")
    with pytest.raises(InputError, match="product='scalar' has no Convolution"):
        Convolution(IRREPS, "0e+1o", IRREPS, "scalar")
    with pytest.raises(InputError, match="product='scalar' has no option 'form': it has none"):
        Interaction(IRREPS, IRREPS, IRREPS, "scalar", form="grid")


def test_a_product_that_says_that_it_is_bilinear_is_compiled_if_it_is(package):
    class Bilinear(FAMILIES["scalar"].interaction):
        bilinear = weighted_by_path = True

    class Plain(Bilinear):
        bilinear = False

    class Other(Bilinear):
        def forward(self, x, y, weight):
            return super().forward(x, y, weight).tanh()

    family = type(FAMILIES["scalar"])
    settings = {"lmax": 2, "channels": 4, "edge_channels": 4, "cutoff": 3.0}
    with FAMILIES.registered("bilinear", family(Bilinear)), FAMILIES.registered("plain", family(Plain)):
        made = models.build({"product": "bilinear"} | settings, [1, 8], {1: 0.0, 8: 0.0})
        assert set(made.backbone.tables()) == {"coupling.index", "coupling.coefficients"}
        plain = models.build({"product": "plain"} | settings, [1, 8], {1: 0.0, 8: 0.0})
        assert plain.backbone.tables() == {}
        plain.load_state_dict(made.state_dict())
        assert made.backbone.invariants.powers.paths() is not None
        energies = [model(graph())["energy"] for model in (made, plain)]
        assert torch.allclose(*energies, rtol=1e-6)
    with FAMILIES.registered("other", family(Other)), pytest.raises(InputError, match="says that it is bilinear, but"):
        natural_coupling(1, "other")


def graph():
    from ase.build import molecule

    from equitensor.graph import from_ase

    return from_ase(molecule("H2O"), 3.0)


class PartsAsText(models.Backbone):
    PARTS: ClassVar = {"readout": "readout.*"}

    def forward(self, species, neighbors):
        raise AssertionError("refused before it is used")


class GrowsByText(models.GrowingBackbone):
    GROWING: ClassVar = "layers"

    def __init__(self, num_elements, num_neighbors, cutoff, layers=1):
        raise AssertionError("refused before it is used")

    def begin_as(self, smaller):
        raise AssertionError("refused before it is used")

    def forward(self, species, neighbors):
        raise AssertionError("refused before it is used")


@pytest.mark.parametrize(
    ("registry", "what", "message"),
    [
        (models.ARCHITECTURES, object, "no subclass of equitensor.models.Backbone"),
        (models.ARCHITECTURES, models.Backbone, "Backbone lacks forward"),
        (models.ARCHITECTURES, PartsAsText, r"PartsAsText\.PARTS\['readout'\] is no tuple of patterns"),
        (models.ARCHITECTURES, GrowsByText, r"GrowsByText\.GROWING is 'layers', no tuple of names of its settings"),
        (FAMILIES, object, "no equitensor.nn.product_contract.Family"),
    ],
)
def test_what_does_not_keep_the_contract_is_refused(registry: Registry, what, message):
    with pytest.raises(InputError, match=message), registry.registered("strange", what):
        pass
    with pytest.raises(InputError, match="exists already"), registry.registered(next(iter(registry)), what):
        pass


def test_a_broken_architecture_is_an_error_only_where_it_is_asked_for(tmp_path, monkeypatch, capsys):
    (tmp_path / "faulty-0.1.dist-info").mkdir()
    (tmp_path / "faulty-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 0.1\n")
    entries = "[equitensor.architectures]\nfaulty = faulty_backbone:Net\n"
    (tmp_path / "faulty-0.1.dist-info" / "entry_points.txt").write_text(entries)
    (tmp_path / "faulty_backbone.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tmp_path / "train.yaml"
    config.write_text("data: {train: none.xyz}\n")
    assert main(["train", str(config)]) == 2
    assert "none.xyz" in capsys.readouterr().err and "faulty_backbone" not in sys.modules
    assert main(["train", str(config), "model.architecture=faulty"]) == 2
    error = capsys.readouterr().err
    assert "'faulty' of faulty 0.1 cannot be used: faulty_backbone:Net: ModuleNotFoundError" in error

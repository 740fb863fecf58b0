"""A small untrained model with a ZBL wall, in a file, and structures for it."""

import pytest
import torch
from ase.build import bulk, molecule


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    from equitensor import models

    path = tmp_path_factory.mktemp("model") / "model.eqt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = {"cutoff": 4.0, "channels": 4, "lmax": 1, "layers": 1, "zbl": True}
        model = models.build(settings, elements=(1, 6, 8), e0s={1: -13.5, 6: -1029.0, 8: -2041.0})
    models.save(model, path, provenance={"errors": {"forces_rmse": 0.123}})
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a molecule, a crystal and a structure of an element nobody knows."""
    monkeypatch.chdir(tmp_path)
    molecule("CH3OH").write("molecule.xyz")
    bulk("C", cubic=True).write("crystal.cif")
    molecule("SiH4").write("silane.xyz")
    return tmp_path

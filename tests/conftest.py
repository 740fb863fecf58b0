"""What several rooms' tests share."""

import os
from pathlib import Path

import pytest

# Before torch is imported: problems of tests are small, and threads that wait for a core that others use cost minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_ROOT = Path(__file__).resolve().parents[1]
_SHARED_DATA = _ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets beside the repository; tests that need it skip where it is absent."""
    if not _SHARED_DATA.is_dir():
        pytest.skip("needs the real data sets in ../shared/data, which are not part of the repository")
    return _SHARED_DATA


@pytest.fixture(scope="session")
def alanine_data():
    """The folder of the bundled data set."""
    return _ROOT / "datasets" / "alanine"


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, alanine_data):
    """The folder of a real, short training on the bundled molecules: H, C, N, O, forces of the order of 1 eV/A."""
    import torch

    from equitensor.training import fit
    from equitensor.training.config import validate

    folder = tmp_path_factory.mktemp("trained") / "run"
    config = {
        "data": {"train": str(alanine_data / "train.xyz"), "group_key": "trajectory"},
        "model": {"cutoff": 4.0, "channels": 16, "edge_channels": 16, "lmax": 2, "layers": 2, "num_radial": 6},
        "train": {"batch_size": 8, "max_epochs": 10, "device": "cpu", "threads": 1},
        "output": str(folder),
    }
    threads = torch.get_num_threads()
    try:
        fit(validate(config, "the fixture's config"))
    finally:
        torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="session")
def trained_file(trained_run):
    """The model file of that run (float32)."""
    return trained_run / "model.eqt"


@pytest.fixture(scope="session")
def trained_model(trained_file):
    """Its model in float64."""
    import torch

    from equitensor import models

    return models.load(trained_file, dtype=torch.float64)

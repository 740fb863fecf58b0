"""Which backend computes, why, and that the compiled one starts without torch."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase.build import molecule
from evaluator_cases import random_potential, structures

from equitensor import models
from equitensor.errors import InputError
from equitensor.interfaces import Calculator, one_at_a_time
from equitensor.interfaces.backend import backend_of
from equitensor.interfaces.evaluator_library import why_not

needs_core = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def potential():
    return random_potential()


@pytest.fixture(scope="module")
def path(potential, tmp_path_factory):
    path = tmp_path_factory.mktemp("backend") / "model.eqt"
    models.save(potential, path)
    return path


@needs_core
@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
@pytest.mark.parametrize("dtype", ["float32", torch.float64, None])
def test_the_core_computes_what_it_can(potential, path, device, dtype):
    atoms = structures()["skewed"]
    expected = Calculator(path, device, dtype, backend="torch")
    expected.calculate(atoms)
    assert expected.backend == "torch"
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    for model in (path, str(path), potential):
        calc = Calculator(model, device, dtype)
        calc.calculate(atoms)
        assert calc.backend == "core"
        assert calc.elements == expected.elements
        np.testing.assert_array_equal(calc.coordination, expected.coordination)
        assert set(calc.results) == set(expected.results)
        for name, value in expected.results.items():
            assert np.shape(calc.results[name]) == np.shape(value)
            np.testing.assert_allclose(calc.results[name], value, rtol=0, atol=tolerance * max(1, np.abs(value).max()))


@needs_core
@pytest.mark.parametrize(
    "settings, options, reason",
    [
        ({"architecture": "dimenet++"}, {}, r'architecture "dimenet\+\+"'),
        ({}, {"device": "meta"}, "device is 'meta', the evaluator computes on a CPU"),
    ],
)
def test_where_the_core_cannot_torch_is_taken_and_the_reason_said(tmp_path, settings, options, reason):
    model = models.build({"cutoff": 4.0} | settings, (1, 6, 8), {1: 0, 6: 0, 8: 0})
    models.save(model, tmp_path / "model.eqt")
    with pytest.raises(InputError, match=rf"backend 'core' is not possible: .*{reason}"):
        Calculator(tmp_path / "model.eqt", backend="core", **{"device": "cpu"} | options)
    name, why = backend_of(tmp_path / "model.eqt", **options)
    assert name == "torch"
    if not options:
        calc = Calculator(tmp_path / "model.eqt", "cpu")
        calc.calculate(molecule("CH3OH"))
        assert (calc.backend, calc.why) == (name, why)
        with pytest.raises(InputError, match="threads is 2, but torch computes"):
            Calculator(tmp_path / "model.eqt", "cpu", threads=2)


@needs_core
def test_a_file_of_the_format_before_is_for_torch(path, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["equitensor"]) | {"format": 2}
        weights = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("coupling.")}  # noqa: SIM118
    save_file(weights, tmp_path / "old.eqt", metadata={"equitensor": json.dumps(header)})
    calc = Calculator(tmp_path / "old.eqt", "cpu")
    assert calc.backend == "torch"
    assert "old.eqt: is of model format 2" in calc.why


def test_what_is_not_a_potential_of_ours_is_for_torch(morse):
    calc = Calculator(morse, "cpu")
    assert calc.backend == "torch"
    assert why_not() or "Morse is not a Potential" in calc.why


@pytest.mark.parametrize("options", [{"backend": "jax"}, {"threads": 0}, {"dtype": "float16", "backend": "core"}])
def test_options_that_do_not_exist(path, options):
    with pytest.raises(InputError, match=f"{next(iter(options))}|dtype"):
        Calculator(path, "cpu", **options)


@needs_core
def test_threads_of_the_core(path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    small, large = structures()["skewed"], structures()["skewed"] * (4, 4, 5)
    calc, fixed = Calculator(path, "cpu"), Calculator(path, "cpu", threads=2)
    for atoms, threads in ((small, 1), (large, 2), (large * (2, 1, 1), 3), (small, 1)):
        calc.calculate(atoms)
        fixed.calculate(atoms)
        assert calc._engine.threads == threads
        assert fixed._engine.threads == 2
        np.testing.assert_array_equal(calc.results["forces"], fixed.results["forces"])


@needs_core
def test_copies_count_neighbours_and_go_on(path):
    atoms = structures()["skewed"]
    calc = Calculator(path, "cpu", "float64")
    calc.calculate(atoms)
    forces, counts = calc.results["forces"], calc.coordination
    assert counts.min() > 0
    for twin in (copy.deepcopy(calc), pickle.loads(pickle.dumps(calc))):
        np.testing.assert_array_equal(twin.coordination, counts)
        atoms.positions += 0.01
        twin.calculate(atoms)
        np.testing.assert_allclose(twin.results["forces"], forces, rtol=0, atol=1e-12)


@needs_core
def test_in_a_forked_process_one_thread_computes(path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    atoms = structures()["skewed"] * (4, 4, 5)
    calc, fixed = Calculator(path, "cpu"), Calculator(path, "cpu", threads=2)
    calc.calculate(atoms)
    assert calc._engine.threads == 2
    expected = calc.results["forces"]
    monkeypatch.setattr(one_at_a_time, "_forked_after", True)
    calc.calculate(atoms)
    assert calc._engine.threads == 1
    np.testing.assert_array_equal(calc.results["forces"], expected)
    with pytest.raises(RuntimeError, match="OpenMP hangs"):
        fixed.calculate(atoms)
    with pytest.raises(RuntimeError, match="OpenMP hangs"):
        Calculator(path, "cpu", threads=2)


WITHOUT_TORCH = """
import sys
import equitensor
from equitensor.cli import main
assert main(sys.argv[1:]) == 0
for package in ("torch", "e3nn", "lightning"):
    assert package not in sys.modules, package
"""


@needs_core
@pytest.mark.parametrize(
    "command",
    [
        "md model.eqt molecule.xyz --steps 3",
        "md model.eqt crystal.cif --steps 3 --ensemble npt --out crystal.traj",
        "relax model.eqt molecule.xyz --fmax 1000",
        "eval model.eqt data.extxyz --plots plots --json errors.json --out predicted.extxyz",
        "info model.eqt",
        "md --help",
    ],
)
def test_on_a_cpu_commands_do_not_import_torch(command, path, tmp_path):
    from ase.build import bulk
    from ase.calculators.singlepoint import SinglePointCalculator

    (tmp_path / "model.eqt").write_bytes(path.read_bytes())
    atoms = molecule("C2H6")
    atoms.write(tmp_path / "molecule.xyz")
    bulk("Al", cubic=True).write(tmp_path / "crystal.cif")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((len(atoms), 3)))
    atoms.write(tmp_path / "data.extxyz")
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *command.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    if command.startswith("info"):
        assert "core: the compiled evaluator takes this model" in run.stdout

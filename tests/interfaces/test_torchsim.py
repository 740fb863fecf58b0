"""The model of TorchSim: its own checks, the calculator's numbers, its dynamics and relaxations."""

import copy
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from evaluator_cases import random_potential

from equitensor import Calculator, models
from equitensor.data import Memory
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.backend import open_engine
from equitensor.models import write_error_bars
from equitensor.training.uncertainty import fit_error_bars

ts = pytest.importorskip("torch_sim", reason="needs TorchSim (pip install equitensor[torchsim])")
interface = pytest.importorskip("torch_sim.models.interface")
MemoryScaling = pytest.importorskip("torch_sim.typing").MemoryScaling

from equitensor.interfaces.evaluator_library import why_not  # noqa: E402
from equitensor.interfaces.torchsim import Model  # noqa: E402

if hasattr(ts, "Integrator"):
    NVE, RELAX = (
        ts.Integrator.nve,
        {"optimizer": ts.Optimizer.fire, "init_kwargs": {"cell_filter": ts.CellFilter.frechet}},
    )
else:
    NVE, RELAX = ts.nve, {"optimizer": ts.frechet_cell_fire}
CPU, ELEMENTS = torch.device("cpu"), (1, 6, 12, 13, 14, 26, 29)
BACKENDS = ["torch", pytest.param("core", marks=pytest.mark.skipif(why_not() is not None, reason=str(why_not())))]


@pytest.fixture(scope="module")
def potential():
    model = random_potential(ELEMENTS, zbl=True)
    with torch.no_grad():
        model.backbone.rounds[0].energy.mul_(0.2)
    return model


def crystals():
    skewed = bulk("Al", cubic=True) * (2, 1, 1)
    skewed.set_cell(skewed.cell.array + np.array([[0, 0, 0], [0.5, 0.2, 0], [-0.7, 0.3, 0.1]]), scale_atoms=True)
    frames = [bulk("Cu"), skewed, bulk("Si", cubic=True)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    return frames


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_own_checks(potential, backend, dtype):
    model = Model(potential, "cpu", dtype, precision="float64", backend=backend, compute_forces=False)
    assert (model.device, model.dtype, model.backend) == (CPU, dtype, backend)
    assert not model.compute_forces
    assert model.memory_scales_with in get_args(MemoryScaling)
    interface.validate_model_outputs(model, CPU, dtype)
    assert model.compute_forces


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_calculators_numbers(potential, backend):
    model = Model(potential, "cpu", precision="float64", backend=backend)
    several = crystals()
    state = ts.io.atoms_to_state(several, CPU, model.dtype)
    out, start = model(state), 0
    for k, atoms in enumerate(several):
        calc = Calculator(potential, "cpu", "float64", backend="torch")
        atoms.calc, end = calc, start + len(atoms)
        assert out["energy"][k].item() == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
        np.testing.assert_allclose(out["energies"][start:end], atoms.get_potential_energies(), rtol=1e-10)
        np.testing.assert_allclose(out["forces"][start:end], atoms.get_forces(), atol=1e-10)
        np.testing.assert_allclose(out["stress"][k], atoms.get_stress(voigt=False), atol=1e-10)
        start = end
    fields = {name: getattr(state, name) for name in ("positions", "cell", "pbc", "atomic_numbers", "system_idx")}
    torch.testing.assert_close(model(fields), out)


@pytest.mark.parametrize("backend", BACKENDS)
def test_error_bars_of_each_structure(potential, backend, tmp_path):
    path, several = tmp_path / "model.eqt", crystals()
    models.save(potential, path)
    engine, _ = open_engine(path, "cpu", "float64", skin=0.0)
    write_error_bars(path, fit_error_bars(engine, Memory([Structure.from_ase(atoms) for atoms in several])))
    several[0].rattle(0.3, seed=7)
    model = Model(path, "cpu", precision="float64", backend=backend)
    state, start = ts.io.atoms_to_state(several, CPU, model.dtype), 0
    out = model(state)
    for k, atoms in enumerate(several):
        calc, end = Calculator(path, "cpu", "float64"), start + len(atoms)
        calc.calculate(atoms)
        assert out["energy_std"][k].item() == pytest.approx(calc.results["energy_std"], rel=1e-6)
        for name in ("forces_std", "novelty"):
            np.testing.assert_allclose(out[name][start:end], calc.results[name], rtol=1e-6, atol=1e-6)
        start = end
    without = Model(path, "cpu", precision="float64", backend=backend, error_bars=False)(state)
    assert without.keys() == {"energy", "energies", "forces", "stress"}
    for name, values in without.items():
        torch.testing.assert_close(values, out[name], equal_nan=True)


def test_energies_stay_in_double_precision(potential):
    model = Model(potential, "cpu", "float32")
    out = model(ts.io.atoms_to_state(crystals(), CPU, torch.float32))
    kinds = {name: value.dtype for name, value in out.items()}
    assert kinds == {
        **{"energy": torch.float64, "energies": torch.float64},
        **{"forces": torch.float32, "stress": torch.float32},
    }


def test_molecules_have_no_stress(potential):
    state = ts.io.atoms_to_state([molecule("C6H6"), molecule("CH4")], CPU, torch.float64)
    model = Model(potential, "cpu")
    assert model(state)["stress"].isnan().all()
    model.compute_stress = False
    assert set(model(state)) == {"energy", "energies", "forces"}
    model.compute_forces = False
    assert set(model(state)) == {"energy", "energies"}


@pytest.mark.filterwarnings("ignore:Optimize has reached max steps")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_moves_and_relaxes_many_structures(potential, dtype):
    model = Model(potential, "cpu", dtype)
    start = ts.io.atoms_to_state(crystals(), CPU, model.dtype)
    relaxed = ts.optimize(system=start, model=model, max_steps=20, autobatcher=False, **RELAX)
    before, after = (model(state) for state in (start, relaxed))
    assert (after["energy"] < before["energy"]).all()
    moved = ts.integrate(system=relaxed, model=model, integrator=NVE, n_steps=10, temperature=300.0, timestep=0.001)
    assert moved.positions.dtype == model.dtype
    assert (moved.positions - relaxed.positions).abs().max() > 1e-3


def test_what_it_refuses(potential):
    model = Model(potential, "cpu")
    with pytest.raises(InputError, match="the structure holds Au"):
        model(ts.io.atoms_to_state([bulk("Au")], CPU, torch.float64))
    with pytest.raises(InputError, match="dtype 'float16' is unknown"):
        Model(potential, "cpu", "float16")
    with pytest.raises(InputError, match=r"absent\.eqt"):
        Model("absent.eqt", "cpu")


def test_copies_compute_the_same(potential):
    model, state = Model(potential, "cpu"), ts.io.atoms_to_state(crystals(), CPU, torch.float64)
    expected = model(state)
    torch.testing.assert_close(copy.deepcopy(model)(state), expected)


@pytest.mark.filterwarnings("ignore:Optimize has reached max steps")
def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    page = Path(__file__).resolve().parents[2] / "docs" / "simulations.md"
    section = page.read_text().split("\n## TorchSim")[1].split("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    example = "\n".join(lines)
    if hasattr(ts, "Integrator"):
        example = example.replace("ts.nvt_langevin", "ts.Integrator.nvt_langevin")
        example = example.replace("optimizer=ts.frechet_cell_fire", "**RELAX")
    models.save(random_potential((6,), zbl=True), tmp_path / "model.eqt")
    monkeypatch.chdir(tmp_path)
    namespace = {"RELAX": RELAX}
    exec(example, namespace)
    assert len(lines) > 5
    assert namespace["moved"].positions.shape == (32, 3)
    assert "nan" not in capsys.readouterr().out

"""A dispersion beside a model: asked for, or known to the model file, in every engine; never twice, never forgotten."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, molecule
from ase.units import Bohr, Hartree
from evaluator_cases import random_potential

from equitensor import models
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces import Calculator
from equitensor.interfaces.batched_engines import open_batched
from equitensor.interfaces.batched_relaxation import relax_many
from equitensor.interfaces.evaluator import Model
from equitensor.interfaces.hessian import hessian
from equitensor.models import D3

BACKENDS = ("core", "torch")


@pytest.fixture
def whole(tmp_path):
    """A model file that learned whole labels."""
    models.save(random_potential(elements=(1, 6, 8, 13)).double(), tmp_path / "whole.eqt")
    return tmp_path / "whole.eqt"


@pytest.fixture
def rest(whole, lacking_d3):
    return lacking_d3(whole)


def structure(atoms):
    return Structure(atoms.numbers.astype(np.int64), atoms.positions, atoms.cell.array, atoms.pbc)


def crystal():
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.1, seed=2)
    return atoms


def ethanol():
    return molecule("CH3CH2OH")


def slab():
    return fcc111("Al", (2, 2, 2), vacuum=6.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [ethanol, crystal, slab])
def test_the_sum(d3_stand_in, whole, rest, make, backend):
    atoms = make()
    options = {"device": "cpu", "dtype": "float64", "backend": backend, "stress": "cell"}
    plain, asked, known = (
        Calculator(path, **options, **extra) for path, extra in ((whole, {}), (whole, {"d3": "PBE-BJ"}), (rest, {}))
    )
    added = D3("pbe-bj").compute(structure(atoms), stress=atoms.cell.rank == 3)
    assert abs(added.energy) > 0.01 < abs(added.forces).max()
    assert plain.d3 is None
    for calc in (asked, known, copy.deepcopy(known), pickle.loads(pickle.dumps(asked))):
        assert calc.d3 == "pbe-bj" and calc.backend == backend
        assert calc.get_potential_energy(atoms) == pytest.approx(
            plain.get_potential_energy(atoms) + added.energy, 1e-13
        )
        np.testing.assert_allclose(calc.get_forces(atoms), plain.get_forces(atoms) + added.forces, atol=1e-12)
        assert calc.get_potential_energies(atoms).sum() == pytest.approx(calc.get_potential_energy(atoms), 1e-12)
        np.testing.assert_array_equal(calc.descriptors(atoms), plain.descriptors(atoms))
        if atoms.cell.rank == 3:
            difference = calc.get_stress(atoms) - plain.get_stress(atoms)
            np.testing.assert_allclose(difference, added.stress.flat[[0, 4, 8, 5, 2, 1]], atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_numbers_of_ase(whole, backend):
    ase, mixing = pytest.importorskip("dftd3.ase"), pytest.importorskip("ase.calculators.mixing")
    options = {"device": "cpu", "dtype": "float64", "backend": backend}
    for make in (ethanol, crystal):
        atoms, other = make(), make()
        atoms.calc = Calculator(whole, d3="pbe-zero", **options)
        other.calc = mixing.SumCalculator([Calculator(whole, **options), ase.DFTD3(method="PBE", damping="d3zero")])
        assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), rel=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), other.get_forces(), atol=1e-11)
        if atoms.pbc.all():
            np.testing.assert_allclose(atoms.get_stress(), other.get_stress(), atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_at_once(d3_stand_in, rest, backend):
    engine, _ = open_batched(rest, "cpu", "float64", backend=backend)
    structures = [structure(make()) for make in (ethanol, crystal, slab)]
    relaxed = list(relax_many(engine, structures, fmax=1e-9, steps=0))
    calc = Calculator(rest, device="cpu", dtype="float64", backend=backend)
    for make, relaxation in zip((ethanol, crystal, slab), relaxed, strict=True):
        atoms = make()
        assert relaxation.structure.energy == pytest.approx(calc.get_potential_energy(atoms), rel=1e-12)
        np.testing.assert_allclose(relaxation.structure.forces, calc.get_forces(atoms), atol=1e-11)


def test_many_at_once_have_stress_and_energies(d3_stand_in, rest):
    from equitensor.interfaces.batched_relaxation import _Moving

    engine, _ = open_batched(rest, "cpu", "float64")
    batch = _Moving.of([structure(make()) for make in (crystal, slab)], "cpu").batch
    out = engine.compute(batch)
    calc = Calculator(rest, device="cpu", dtype="float64")
    stress = calc.get_stress(crystal())
    np.testing.assert_allclose(out["stress"][0].numpy().flat[[0, 4, 8, 5, 2, 1]], stress, atol=1e-12)
    assert out["stress"][1].isnan().all()
    torch.testing.assert_close(batch.sums(out["energies"]), out["energy"])


@pytest.mark.parametrize("asked", ["pbe-bj", "b3lyp-bj"])
@pytest.mark.parametrize("opened", [Calculator, open_batched])
def test_never_twice(d3_stand_in, rest, asked, opened):
    with pytest.raises(InputError, match=f"d3 is '{asked}', but d3 pbe-bj was taken off the labels.*leave d3 out"):
        opened(rest, d3=asked)


def test_a_potential_knows_too(d3_stand_in, whole, rest):
    model = models.load(rest, without_d3=True)
    assert Calculator(model, device="cpu").d3 == "pbe-bj"
    extended = models.extended(model, dict.fromkeys(range(1, 20), 0.0))
    assert extended.d3 == "pbe-bj" and models.load(whole).d3 is None


def test_never_forgotten(rest):
    """What does not add it says so."""
    with pytest.raises(InputError, match=r"d3 pbe-bj.*without_d3=True"):
        models.load(rest)
    with pytest.raises(InputError, match=r"d3 pbe-bj.*without_d3=True"):
        Model(rest)
    assert Model(rest, without_d3=True).d3 == "pbe-bj"


def test_the_c_interface_refuses(rest, whole):
    import ctypes

    from equitensor.interfaces.evaluator_library import library

    lib, handle = library(), ctypes.c_void_p()
    data = rest.read_bytes()
    assert lib.equitensor_model_read(data, len(data), ctypes.byref(handle)) == 1
    assert lib.equitensor_model_open(str(rest).encode(), ctypes.byref(handle)) == 1
    assert b"D3 of pbe-bj" in lib.equitensor_message() and b"without_d3" in lib.equitensor_message()
    data = whole.read_bytes()
    assert lib.equitensor_model_read(data, len(data), ctypes.byref(handle)) == 0
    assert lib.equitensor_model_d3(handle) is None
    lib.equitensor_model_close(handle)


def test_the_format_that_earlier_readers_refuse(whole, rest):
    assert [models.read_header(path)["format"] for path in (whole, rest)] == [3, 4]


@pytest.mark.parametrize("d3", [None, "", 3])
def test_a_damaged_header(rest, d3):
    data = rest.read_bytes()
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    header = json.loads(entries["__metadata__"]["equitensor"])
    entries["__metadata__"]["equitensor"] = json.dumps(header | {"d3": d3})
    text = json.dumps(entries).encode()
    rest.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(InputError, match=r"its header is damaged \(d3\)"):
        models.load(rest)
    with pytest.raises(InputError, match="d3"):
        Model(rest, without_d3=True)


def test_without_the_package(monkeypatch, rest):
    import sys

    monkeypatch.setitem(sys.modules, "dftd3", None)
    with pytest.raises(InputError, match=r"d3 pbe-bj needs the package dftd3.*equitensor\[d3\]"):
        Calculator(rest)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_done_to_the_engine_beneath(d3_stand_in, rest, backend):
    """Error bars are its own, and taken away from it; second derivatives have the dispersion too."""
    atoms = ethanol()
    calc = Calculator(rest, device="cpu", dtype="float64", backend=backend, error_bars=False)
    calc._engine.error_bars = None
    assert calc.error_bars is None and "error_bars" not in vars(calc._engine)
    out = calc._engine.compute(structure(atoms), stress=False, features=True)
    np.testing.assert_array_equal(out["features"], calc.descriptors(atoms))
    plain = models.load(rest, without_d3=True)
    plain.d3 = None
    plain = Calculator(plain, device="cpu", dtype="float64", backend=backend)
    water = molecule("H2O")
    difference = hessian(calc, water) - hessian(plain, water)
    springs = np.kron(np.eye(3) - 1 / 3, np.eye(3)) * -0.001 * Hartree / Bohr**2
    np.testing.assert_allclose(difference, springs, atol=2e-3)

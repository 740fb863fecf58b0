"""Phonons against second derivatives of the supercell, which hold all its waves."""

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, molecule
from ase.calculators.emt import EMT

from equitensor.errors import InputError
from equitensor.interfaces import Calculator, phonons, vibrations


@pytest.fixture
def phonopy():
    return pytest.importorskip("phonopy", reason="needs phonopy: pip install equitensor[phonons]")


@pytest.mark.parametrize("cubic", [False, True])
def test_waves_of_the_supercell_are_its_vibrations(phonopy, potential, cubic):
    calc, cell = Calculator(potential, "cpu", "float64"), bulk("Cu", a=3.9, cubic=cubic)
    computed = phonons(calc, cell, (2, 2, 2), displacement=1e-3)
    assert computed.frequencies.shape == (len(computed.points), 3)
    waves = {"G": 1, "X": 3, "L": 4}  # that fit into 2 x 2 x 2 primitive cells
    expected = vibrations(calc, bulk("Cu", a=3.9) * 2).wavenumbers
    if cubic:  # more of them fit into this supercell: those of the smaller one are among them
        expected = vibrations(calc, cell * 2).wavenumbers
        for name in waves:
            assert all(abs(expected - value).min() < 0.05 for value in computed.at(name))
    else:
        of_waves = np.concatenate([np.repeat(computed.at(name), count) for name, count in waves.items()])
        np.testing.assert_allclose(np.sort(of_waves), expected, atol=0.05)
    assert abs(computed.at("X")).min() > 1  # 1/cm: not all the same zeros
    assert abs(computed.at("G")).max() < 1e-3
    assert computed.drift < 0.05


def test_two_masses_split_branches(phonopy):
    alloy = bulk("CuAu", "cesiumchloride", a=3.1)
    waves = phonons(EMT(), alloy, (2, 2, 2), displacement=1e-3)
    corner = waves.at("R")
    expected = vibrations(EMT(), alloy * 2).wavenumbers
    assert waves.frequencies.shape[1] == 6
    assert corner[-1] > 1.2 * corner[0] > 0
    for value in corner:
        assert abs(expected - value).min() < 1e-3 * value
    np.testing.assert_allclose(waves.at("G")[:3], 0, atol=1e-3)


def test_a_slab_has_waves_along_its_plane(phonopy):
    slab = fcc100("Cu", (1, 1, 2), vacuum=5)
    slab.cell[2, 2] = 12.0
    waves = phonons(EMT(), slab, (3, 3, 1))
    assert not waves.points[:, 2].any()
    assert waves.frequencies.shape[1] == 6
    np.testing.assert_allclose(waves.at("G")[:3], 0, atol=1e-3)


@pytest.mark.parametrize(
    "atoms, supercell, message",
    [
        (molecule("H2O"), (2, 2, 2), "not periodic"),
        (bulk("Cu"), (2, 0, 2), "three whole numbers"),
        (Atoms("Cu", cell=[3, 3, 9], pbc=(True, True, False)), (2, 2, 2), "not periodic along c: say 1"),
        (Atoms("Cu", cell=[3, 3, 0], pbc=(True, True, False)), (2, 2, 1), "no volume"),
    ],
)
def test_what_has_no_phonons(phonopy, atoms, supercell, message):
    with pytest.raises(InputError, match=message):
        phonons(EMT(), atoms, supercell)


def test_without_phonopy_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(InputError, match=r"pip install equitensor\[phonons\]"):
        phonons(EMT(), bulk("Cu"))

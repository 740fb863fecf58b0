"""RuNNer's and n2p2's input.data, whose units must be named."""

import numpy as np
import pytest
from ase import units

from equitensor.data import open_snapshots
from equitensor.errors import InputError

TEXT = """begin
comment bulk
lattice 8.0 0.0 0.0
lattice 0.0 8.0 0.0
lattice 0.0 0.0 8.0
atom 0.0 0.0 0.0 Si 0.0 0.0 0.1 0.2 0.3
atom 2.0 2.0 2.0 O 0.0 0.0 -0.1 -0.2 -0.3
energy -3.5
charge 0.0
end
"""
FORCES = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "input.data"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(("energy", "length"), [(1.0, 1.0), (units.Hartree, units.Bohr)])
def test_both_systems_of_units_can_be_said(path, energy, length):
    names = ("eV", "Angstrom") if energy == 1.0 else ("Hartree", "Bohr")
    first = open_snapshots(path, energy_unit=names[0], length_unit=names[1])[0]
    assert np.isclose(first.energy, -3.5 * energy, rtol=1e-12)
    assert np.allclose(first.forces, FORCES * energy / length, rtol=1e-12)
    assert np.allclose(first.pos[1], 2 * length, rtol=1e-12) and np.allclose(first.cell, np.eye(3) * 8 * length)
    assert first.z.tolist() == [14, 8] and first.pbc.all()


@pytest.mark.parametrize("options", [{}, {"energy_unit": "eV"}, {"length_unit": "Bohr"}])
def test_units_that_are_not_named_are_asked_for(path, options):
    with pytest.raises(InputError, match=r"input\.data: data of RuNNer.*energy_unit=Hartree length_unit=Bohr"):
        open_snapshots(path, **options)


def test_data_files_of_lammps_are_not_taken_for_it(tmp_path):
    path = tmp_path / "system.data"
    path.write_text("LAMMPS data file\n\n1 atoms\n1 atom types\n\n0 5 xlo xhi\n")
    with pytest.raises(InputError, match="no known format"):
        open_snapshots(path)

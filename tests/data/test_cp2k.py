"""CP2K's trajectories: energies in Hartree, forces and cells from the files beside the positions."""

import numpy as np
import pytest
from ase import units

from equitensor.data import open_snapshots
from equitensor.errors import InputError

FORCES = np.array([[[0.01, 0.0, -0.02], [-0.01, 0.0, 0.02]], [[0.03, 0.0, 0.0], [-0.03, 0.0, 0.0]]])
ENERGIES = (-1.1617427, -1.1601)


def text(rows, steps=(0, 5)):
    """Two frames of H2 as CP2K prints them, with positions or forces in the columns."""
    frames = []
    for step, energy, atoms in zip(steps, ENERGIES, rows, strict=True):
        lines = "".join(f"  H  {x:18.10f}  {y:18.10f}  {z:18.10f}\n" for x, y, z in atoms)
        frames.append(f"       2\n i = {step:8d}, time = {step * 0.5:12.3f}, E = {energy:20.10f}\n{lines}")
    return "".join(frames)


@pytest.fixture
def run(tmp_path):
    positions = np.array([[[0, 0, 0], [0.74, 0, 0]], [[0, 0, 0], [0.75, 0, 0]]], dtype=float)
    (tmp_path / "H2-pos-1.xyz").write_text(text(positions))
    (tmp_path / "H2-frc-1.xyz").write_text(text(FORCES))
    return tmp_path


def write_cells(folder, *cells):
    head = "#   Step   Time [fs]       Ax [Angstrom]  ...      Volume [Angstrom^3]\n"
    rows = [f"{5 * i} {2.5 * i} {a} 0 0 0 {a} 0 0 0 {a} {a**3}\n" for i, a in enumerate(cells)]
    (folder / "H2-1.cell").write_text(head + "".join(rows))


def test_energies_and_forces_are_converted(run, caplog):
    data = open_snapshots(run / "H2-pos-1.xyz")
    assert np.allclose([s.energy for s in data], np.array(ENERGIES) * units.Hartree, rtol=1e-12)
    assert np.allclose([s.forces for s in data], FORCES * units.Hartree / units.Bohr, rtol=1e-12)
    assert np.allclose(data[1].pos[1], [0.75, 0, 0]) and not data[0].pbc.any()
    assert "no cell, so molecules without periodicity are read; CP2K writes them into H2-1.cell beside" in caplog.text


def test_a_unit_of_the_energy_leaves_that_of_the_forces(run):
    first = open_snapshots(run / "H2-pos-1.xyz", energy_unit="Hartree")[0]
    assert np.isclose(first.energy, ENERGIES[0] * units.Hartree)
    assert np.allclose(first.forces, FORCES[0] * units.Hartree / units.Bohr)
    assert np.allclose(open_snapshots(run / "H2-pos-1.xyz", forces_unit="eV/Angstrom")[0].forces, FORCES[0])


def test_a_folder_is_its_positions(run, caplog):
    write_cells(run, 8.0, 9.0)
    (run / "H2-vel-1.xyz").write_text(text(FORCES))
    data = open_snapshots(run)
    assert len(data) == 2 and data[0].forces is not None
    assert "no known format" not in caplog.text


def test_cells_beside_the_positions_are_taken(run):
    write_cells(run, 8.0, 9.0)
    data = open_snapshots(run / "H2-pos-1.xyz")
    assert [s.cell[0, 0] for s in data] == [8.0, 9.0] and data[0].pbc.all()
    write_cells(run, 8.0)
    assert [s.cell[0, 0] for s in open_snapshots(run / "H2-pos-1.xyz")] == [8.0, 8.0]


def test_a_frame_without_a_cell_among_changing_ones_is_named(run):
    (run / "H2-pos-1.xyz").write_text(text(FORCES, steps=(0, 7)))
    write_cells(run, 8.0, 9.0)
    with pytest.raises(InputError, match=r"H2-pos-1\.xyz, step 7: the file of cells beside it has no cell"):
        open_snapshots(run / "H2-pos-1.xyz")


def test_missing_forces_are_said(run, caplog):
    (run / "H2-frc-1.xyz").unlink()
    assert open_snapshots(run / "H2-pos-1.xyz")[0].forces is None
    assert "no forces and no cell" in caplog.text and "H2-frc-1.xyz" in caplog.text


def test_forces_belong_to_their_step(run, caplog):
    (run / "H2-frc-1.xyz").write_text(text(FORCES, steps=(3, 5)))
    data = open_snapshots(run / "H2-pos-1.xyz")
    assert data[0].forces is None and np.allclose(data[1].forces, FORCES[1] * units.Hartree / units.Bohr)
    assert "only 1 of 2 frames have forces" in caplog.text


def test_forces_of_other_atoms_are_refused(run):
    (run / "H2-frc-1.xyz").write_text(text(FORCES).replace("H", "O", 1))
    with pytest.raises(InputError, match=r"H2-frc-1\.xyz, step 0: its atoms are others"):
        open_snapshots(run / "H2-pos-1.xyz")


@pytest.mark.parametrize("name", ["H2-frc-1.xyz", "H2-1.cell"])
def test_what_lies_beside_is_no_structure(run, name):
    write_cells(run, 8.0)
    with pytest.raises(InputError, match=rf"{name}: holds no structures, .* X-pos-1\.xyz beside it"):
        open_snapshots(run / name)

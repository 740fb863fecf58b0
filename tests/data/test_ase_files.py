"""Names and formats of files that ASE reads, and which energy of VASP goes with its forces."""

import numpy as np
import pytest

from equitensor.data import open_snapshots
from equitensor.errors import InputError

XYZ = "2\nenergy=-3.5\nH 0 0 0\nO 1 0 0\n"
VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <incar></incar>
 <kpoints><generation param="Gamma"><v type="int" name="divisions">1 1 1</v></generation>
  <varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1.0</v></varray></kpoints>
 <parameters></parameters>
 <atominfo><atoms>2</atoms><types>1</types><array name="atoms"><set>
  <rc><c>Al</c><c>1</c></rc><rc><c>Al</c><c>1</c></rc></set></array></atominfo>
 <structure name="initialpos">{structure}</structure>
 <calculation>
  <scstep><energy><i name="e_fr_energy">-7.54</i><i name="e_wo_entrp">-7.46</i><i name="e_0_energy">-7.50</i></energy>
  </scstep>
  <structure>{structure}</structure>
  <varray name="forces"><v>0.1 0.2 0.3</v><v>-0.1 -0.2 -0.3</v></varray>
  <varray name="stress"><v>10 0 0</v><v>0 10 0</v><v>0 0 10</v></varray>
  <energy><i name="e_fr_energy">-7.54</i><i name="e_wo_entrp">-7.46</i><i name="e_0_energy">-7.50</i></energy>
 </calculation>
 <structure name="finalpos">{structure}</structure>
</modeling>
"""
OUTCAR = """ POTCAR:    PAW_PBE Al 04Jan2001
 POTCAR:    PAW_PBE Al 04Jan2001
   ISPIN  =      1    spin polarized calculation?
   ions per type =               2
--------------------------------------- Iteration      1(   1)  ---------------------------------------
  in kB      10.00000    10.00000    10.00000     0.00000     0.00000     0.00000
      direct lattice vectors                 reciprocal lattice vectors
     4.000000000  0.000000000  0.000000000     0.250000000  0.000000000  0.000000000
     0.000000000  4.000000000  0.000000000     0.000000000  0.250000000  0.000000000
     0.000000000  0.000000000  4.000000000     0.000000000  0.000000000  0.250000000

 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.100000      0.200000      0.300000
      2.00000      2.00000      2.00000        -0.100000     -0.200000     -0.300000
 -----------------------------------------------------------------------------------
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  =        -7.54000000 eV

  energy  without entropy=       -7.46000000  energy(sigma->0) =       -7.50000000
"""
STRUCTURE = """<crystal><varray name="basis"><v>4 0 0</v><v>0 4 0</v><v>0 0 4</v></varray></crystal>
  <varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.5</v></varray>"""


@pytest.mark.parametrize(
    "name",
    [
        *("liquid.md.xyz", "run@300K.xyz", "run@2.xyz", "a.npz.xyz", "50%[a]*?.xyz", "CONFIG_1.xyz", "OUTCAR.extxyz"),
        *("POSCAR_runs.xyz", "mysql.xyz", "postgres.XYZ", "HISTORY.xyz"),
    ],
)
def test_the_ending_of_a_name_decides(tmp_path, name, monkeypatch):
    (tmp_path / name).write_text(XYZ)
    assert open_snapshots(tmp_path / name)[0].energy == -3.5
    monkeypatch.chdir(tmp_path)
    assert open_snapshots(name)[0].energy == -3.5


@pytest.mark.parametrize("name", ["notes.md", "notes.md.gz", "data.xyz.txt", "a.traj.csv"])
def test_texts_are_no_structures(tmp_path, name):
    (tmp_path / name).write_text(XYZ)
    with pytest.raises(InputError, match="no known format"):
        open_snapshots(tmp_path / name)


@pytest.mark.parametrize("name", ["OUTCAR", "OUTCAR.al.md.10", "vasprun.xml", "vasprun.al.md.10.xml", "vasprun@1.xml"])
def test_the_energy_of_vasp_is_the_one_of_its_forces(tmp_path, caplog, name):
    (tmp_path / name).write_text(OUTCAR if "OUTCAR" in name else VASPRUN.format(structure=STRUCTURE))
    first = open_snapshots(tmp_path / name)[0]
    assert np.isclose(first.energy, -7.54) and first.forces[0].tolist() == [0.1, 0.2, 0.3]
    assert np.allclose(first.stress, -np.eye(3) / 160.21766208)  # 10 kbar of pressure
    assert "the energy that was read is free_energy" in caplog.text
    assert np.isclose(open_snapshots(tmp_path / name, energy_key="energy")[0].energy, -7.5)

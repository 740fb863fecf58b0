"""Folders, patterns and runs: every calculation once, nothing passed over in silence."""

import logging

import numpy as np
import pytest

from equitensor.data import convert, open_snapshots, split_by_group
from equitensor.data.snapshots import find_sources
from equitensor.errors import InputError

FRAME = "1\nenergy={} pbc='F F F'\nH 0 0 0\n"
CELL = '<crystal><varray name="basis"><v>8 0 0</v><v>0 8 0</v><v>0 0 8</v></varray></crystal>'
PLACES = '<varray name="positions"><v>0 0 0</v><v>0 0 0.1</v></varray>'
ENERGY = "<energy>" + "".join(f'<i name="e_{n}">-6.7</i>' for n in ("fr_energy", "wo_entrp", "0_energy")) + "</energy>"
VASPRUN = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>
 <parameters><separator name="electronic"/></parameters>
 <atominfo><array name="atoms"><set><rc><c>H </c><c>1</c></rc><rc><c>H </c><c>1</c></rc></set></array></atominfo>
 <structure name="initialpos">{CELL}{PLACES}</structure>
 <calculation>
  <scstep>{ENERGY}</scstep><structure>{CELL}{PLACES}</structure>
  <varray name="forces"><v>0 0 0.5</v><v>0 0 -0.5</v></varray>
  <varray name="stress"><v>1 0 0</v><v>0 1 0</v><v>0 0 2</v></varray>
  {ENERGY}
 </calculation>
</modeling>
"""


def vasp_run(folder, *others):
    folder.mkdir(parents=True)
    for name in (*others, "POTCAR", "INCAR", "WAVECAR"):
        (folder / name).write_text("not to be read")
    return folder


def names(sources, root):
    return [(str(path.relative_to(root)), name) for path, name in sources]


def test_a_vasp_run_is_one_calculation(tmp_path, caplog):
    run = vasp_run(tmp_path / "run", "OUTCAR", "CONTCAR", "POSCAR", "XDATCAR", "OSZICAR")
    (run / "vasprun.xml").write_text(VASPRUN)
    (structure,) = open_snapshots(run)
    assert structure.energy == -6.7 and structure.forces.shape == (2, 3)
    assert "beside outputs of the same calculation: CONTCAR, INCAR, OSZICAR, OUTCAR" in caplog.text


def test_a_pattern_that_matches_a_whole_run_reads_it_once(tmp_path, caplog):
    for name in ("a", "b"):
        run = vasp_run(tmp_path / name, "OUTCAR", "CONTCAR")
        (run / "vasprun.xml").write_text(VASPRUN)
    assert len(open_snapshots(str(tmp_path / "*" / "*"))) == 2
    assert "OUTCAR (2 times)" in caplog.text
    assert len(find_sources(str(tmp_path / "*" / "OUTCAR"))) == 2


def test_an_outcar_alone_is_read_for_its_run(tmp_path):
    vasp_run(tmp_path / "run", "OUTCAR.gz", "CONTCAR", "POSCAR")
    assert names(find_sources(tmp_path / "run"), tmp_path) == [("run/OUTCAR.gz", "ase")]


def test_a_file_beside_its_compressed_copy_is_read_once(tmp_path):
    run = vasp_run(tmp_path / "run", "OUTCAR", "OUTCAR.gz")
    assert len(find_sources(run)) == 1


def test_folders_are_looked_into_with_one_line_about_it(tmp_path, caplog):
    for name in ("a", "b/c"):
        vasp_run(tmp_path / name, "OUTCAR", "CONTCAR")
        (tmp_path / name / "vasprun.xml").write_text(VASPRUN)
    (tmp_path / "more.xyz").write_text(FRAME.format(1))
    (tmp_path / "b" / "notes.txt").write_text("hello")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.xyz").write_text(FRAME.format(1))
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    assert names(find_sources(tmp_path), tmp_path) == [
        *(("more.xyz", "ase"), ("a/vasprun.xml", "ase"), ("b/c/vasprun.xml", "ase"))
    ]
    assert "read with 2 of the folders in it: vasprun.xml (2 times), more.xyz" in caplog.text
    assert "of no known format: notes.txt" in caplog.text
    assert "OUTCAR (2 times)" in caplog.text
    assert len(open_snapshots(tmp_path)) == 3


def test_a_folder_of_one_file_says_nothing(tmp_path, caplog):
    (tmp_path / "a.xyz").write_text(FRAME.format(1))
    with caplog.at_level(logging.INFO):
        assert len(find_sources(tmp_path)) == 1
    assert caplog.text == ""


def test_patterns_stand_for_what_matches(tmp_path):
    for i in range(3):
        (tmp_path / f"run{i}").mkdir()
        (tmp_path / f"run{i}" / "md.xyz").write_text(FRAME.format(i) * 2)
    pattern = str(tmp_path / "run*" / "md.xyz")
    assert [s.energy for s in open_snapshots(pattern)] == [0, 0, 1, 1, 2, 2]
    assert len(open_snapshots(str(tmp_path / "**" / "*.xyz"))) == 6
    assert len(open_snapshots([str(tmp_path / "run[01]" / "md.xyz"), tmp_path / "run2"])) == 6
    assert len(convert([pattern], tmp_path / "all.lmdb")) == 6
    for name in ("x", "y"):
        convert([tmp_path / "run0"], tmp_path / f"{name}.lmdb")
    assert len(open_snapshots(str(tmp_path / "[xy].lmdb"))) == 4
    with pytest.raises(InputError, match=r"none\*\.xyz: nothing matches this pattern"):
        open_snapshots(str(tmp_path / "none*.xyz"))
    odd = tmp_path / "md[1].xyz"  # a name that looks like a pattern is a name first
    odd.write_text(FRAME.format(7))
    assert open_snapshots(odd)[0].energy == 7


def test_the_file_can_be_the_group(tmp_path):
    for i in range(4):
        (tmp_path / f"md{i}.xyz").write_text("2\nenergy=1 pbc='F F F'\nH 0 0 0\nH 0 0 0.7\n" * 5)
    snapshots = open_snapshots(tmp_path, group_key="file")
    assert snapshots.index.group_names == [str(tmp_path / f"md{i}.xyz") for i in range(4)]
    split = split_by_group(snapshots, 0.25, seed=0)
    assert len(split.valid) == 5 and len(np.unique(snapshots.index.group[split.valid])) == 1
    store = convert([tmp_path / "md0.xyz", tmp_path / "md1.xyz"], tmp_path / "a.lmdb", group_key="file")
    assert np.array_equal(store.index.group, [0] * 5 + [1] * 5)
    with pytest.raises(InputError, match="leave out group_key"):
        convert(tmp_path / "a.lmdb", tmp_path / "b.lmdb", group_key="file")

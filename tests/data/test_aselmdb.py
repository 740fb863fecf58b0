"""ASE databases in LMDB files: numeric order, deleted rows, both ways in which arrays are written."""

import json
import zlib

import lmdb
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db.row import atoms2dict
from ase.io.jsonio import encode

from equitensor.data.formats import aselmdb
from equitensor.errors import InputError, NoLabelsError


def row(energy):
    atoms = Atoms("CuH", [[0, 0, 0], [0, 0, 1.5]], cell=[4, 4, 9], pbc=True, tags=[1, 2])
    atoms.set_constraint(FixAtoms([0]))
    results = {"energy": energy, "forces": np.ones((2, 3)), "stress": np.arange(6.0)}
    atoms.calc = SinglePointCalculator(atoms, **results)
    row = {**atoms2dict(atoms), **results, "key_value_pairs": {}, "data": {"sid": "random7"}}
    row.pop("unique_id")
    return row


def plain(value):
    """What orjson writes: arrays as nested lists."""
    return json.dumps(value, default=lambda v: v.tolist() if hasattr(v, "tolist") else v.todict())


@pytest.fixture
def write(tmp_path):
    def write(rows, encode, **other_keys):
        path = tmp_path / "data.aselmdb"
        environment = lmdb.open(str(path), subdir=False, map_size=1 << 20, lock=False)
        with environment, environment.begin(write=True) as txn:
            for number, value in [*enumerate(rows, start=1), *other_keys.items()]:
                text = value if isinstance(value, str) else encode(value)
                txn.put(str(number).encode(), zlib.compress(text.encode()))
        return path

    return write


@pytest.mark.parametrize("encoder", [encode, plain])
def test_rows_in_order_without_the_deleted(write, encoder):
    path = write([row(float(i)) for i in range(1, 12)], encoder, nextid=12, deleted_ids=[3], metadata={"a": 1})
    assert aselmdb.recognises(path) and aselmdb.recognises(path.parent)
    structures = list(aselmdb.read(path))
    assert [s.energy for s in structures] == [1, 2, *range(4, 12)]
    first = structures[0]
    assert first.z.tolist() == [29, 1] and first.fixed.tolist() == [True, False] and first.tags.tolist() == [1, 2]
    assert first.cell[2, 2] == 9 and first.pbc.all() and first.forces.shape == (2, 3)
    assert first.stress[0].tolist() == [0, 5, 4] and first.stress[1, 2] == 3
    assert first.group == "sid 7" and first.source == f"{path}, key 1"


@pytest.mark.parametrize("bad", ["{", '{"positions": []}'])
def test_a_bad_row_is_named(write, bad):
    with pytest.raises(InputError, match=r"data\.aselmdb, key 2"):
        list(aselmdb.read(write([row(0.0), bad], encode)))


def test_the_energy_as_published_is_read_and_said(write, caplog):
    rows = [{**row(1.0), "free_energy": 0.98}, {**row(2.0), "free_energy": 2.0}]
    assert [s.energy for s in aselmdb.read(write(rows, encode))] == [1.0, 2.0]
    assert "energies are those at zero smearing, as published" in caplog.text and "differs in 1 rows" in caplog.text


def test_rows_without_labels_say_what_they_have(write):
    bare = {key: value for key, value in row(1.0).items() if key not in ("energy", "forces", "stress")}
    with pytest.raises(NoLabelsError, match="no row has energy, forces or stress; beside them are gap, sid, U0"):
        list(aselmdb.read(write([{**bare, "key_value_pairs": {"gap": 1}, "data": {"sid": 7, "U0": -1}}], encode)))

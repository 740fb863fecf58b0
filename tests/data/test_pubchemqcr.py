"""PubChemQCR: stages are levels of theory, gradients become forces, and what is missing stays missing."""

import gzip
import os
import pickle
from itertools import pairwise

import lmdb
import numpy as np
import pytest
from ase.units import Bohr, Hartree

from equitensor.data import convert, open_snapshots
from equitensor.data.formats import pubchemqcr
from equitensor.errors import InputError


def step(energy=-1.5, gradient=0.25, charges=True):
    charge = {"charge": 1.0} if charges else {}
    coordinates = [{"atom": "H", **charge, "x": 0.0, "y": 0.0, "z": 0.7 * i} for i in range(2)]
    gradients = [{"atom": "H", **charge, "dx": 0.0, "dy": 0.0, "dz": sign * gradient} for sign in (-1, 1)]
    return {"coordinates": coordinates, "energy": energy, "gradient": gradients}


@pytest.fixture
def write(tmp_path):
    def write(*molecules):
        path = tmp_path / "Data01.lmdb"
        environment = lmdb.open(str(path), subdir=False, map_size=1 << 20, lock=False)
        with environment, environment.begin(write=True) as txn:
            for number, stages in enumerate(molecules):
                txn.put(f"{number:09}".encode(), gzip.compress(pickle.dumps(stages)))
        return path

    return write


def test_only_dft_and_in_our_units(write):
    path = write(
        {"pm3": [], "hf": [step(-1.0)], "DFT_1st": [step(charges=False)], "DFT_2nd": [step(), step()]},
        {"pm3": None, "hf": [step(-1.0)], "DFT_1st": None, "DFT_2nd": [step(-2.0)]},
    )
    assert pubchemqcr.recognises(path) and pubchemqcr.recognises(path.parent)
    first, *rest = structures = list(pubchemqcr.read(path))
    assert [s.config_type for s in structures] == ["DFT_1st", "DFT_2nd", "DFT_2nd", "DFT_2nd"]
    assert [s.group for s in structures] == ["cid 000000000"] * 3 + ["cid 000000001"]
    assert first.z.tolist() == [1, 1] and not first.pbc.any() and not first.cell.any()
    assert first.energy == -1.5 * Hartree
    np.testing.assert_allclose(first.forces[:, 2], [0.25 * Hartree / Bohr, -0.25 * Hartree / Bohr])
    assert rest[-1].source == f"{path}, key 000000001, DFT_2nd, step 0"


def test_missing_labels_are_none_not_zero(write):
    bare, cut, unnamed = step(), step(), step()
    bare.update(energy=None, gradient=None)
    cut["gradient"] = cut["gradient"][:1]
    del unnamed["energy"], unnamed["gradient"]
    structures = list(pubchemqcr.read(write({"DFT_1st": [bare, cut, unnamed]})))
    assert [s.energy for s in structures] == [None, -1.5 * Hartree, None]
    assert all(s.forces is None for s in structures)


def test_steps_without_coordinates_are_counted(write, caplog):
    path = write({"DFT_1st": [step(), {"coordinates": [], "energy": None, "gradient": []}]})
    assert len(list(pubchemqcr.read(path))) == 1
    assert "1 steps have no coordinates" in caplog.text


def test_levels_of_theory_do_not_mix_by_accident(write):
    path = write({"hf": [step(-1.0)], "DFT_1st": [step()]})
    assert [s.energy for s in pubchemqcr.read(path, stages="hf")] == [-Hartree]
    with pytest.raises(InputError, match="different levels of theory"):
        list(pubchemqcr.read(path, stages=["hf", "DFT_1st"]))
    assert len(list(pubchemqcr.read(path, stages="hf,dft_1st", mix_levels=True))) == 2


def test_relaxations_and_dynamics_with_xtb_are_one_level_that_is_not_dft(write):
    path = write({"smiles": "[H][H]", "gfn2": [step(), step()], "gfn2_md": [step()], "DFT_1st": [step()]})
    structures = list(pubchemqcr.read(path, stages=["gfn2", "gfn2_md"]))
    assert [structure.config_type for structure in structures] == ["gfn2", "gfn2", "gfn2_md"]
    assert len(list(pubchemqcr.read(path, stages=["gfn2,gfn2_md"]))) == 3  # as of --stage gfn2,gfn2_md
    with pytest.raises(InputError, match="different levels of theory"):
        list(pubchemqcr.read(path, stages="gfn2,DFT_1st"))
    with pytest.raises(InputError, match="unknown stage 'mp2'"):
        list(pubchemqcr.read(path, stages="mp2"))
    with pytest.raises(InputError, match="no step of the stages pm3"):
        list(pubchemqcr.read(path, stages="pm3"))


@pytest.mark.parametrize(
    "split",
    [
        '{"train": [0, 2], "val": ["000000001"], "test": []}',
        '{"train": {"Data01": ["cid 000000000"], "Data02": [2]}, "val": [1]}',
        '{"000000000": "train", "000000001": "val", "000000002": "train"}',
        "303030303030303030\n303030303030303032\n",
        "[0, 2]",
    ],
)
def test_a_split_by_molecule(write, tmp_path, split):
    path = write(*({"DFT_1st": [step(), step()]} for _ in range(3)))
    (tmp_path / "split.json").write_text(split)
    subset = "train" if "train" in split else None
    options = {"split_file": str(tmp_path / "split.json"), "subset": subset}
    assert [s.group for s in pubchemqcr.read(path, **options)] == ["cid 000000000"] * 2 + ["cid 000000002"] * 2
    store = convert(path, tmp_path / "train.store", **options)
    assert len(store) == 4 and len(open_snapshots(path)) == 6


@pytest.mark.parametrize(
    ("split", "subset", "message"),
    [
        ('{"train": [0]}', "val", "there is no subset 'val'; it has train"),
        ('{"train": [0]}', None, "no subset was named; it has train"),
        ("0\n", "train", "a list of molecules has no subsets"),
        ('{"train": ["aspirin"]}', "train", "'aspirin' is no CID of a molecule"),
        ('{"train": [0], "val": [7, 8]}', "train", "names only 1 of the 3 molecules in .*Data01"),
        ('{"train": [7]}', "train", "no step of the stages DFT_1st, DFT_2nd and of"),
        ("{", "train", "not JSON"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(write, tmp_path, split, subset, message):
    path = write(*({"DFT_1st": [step()]} for _ in range(3)))
    (tmp_path / "split.json").write_text(split)
    with pytest.raises(InputError, match=message):
        list(pubchemqcr.read(path, split_file=str(tmp_path / "split.json"), subset=subset))


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_bad_records_are_named(write, tmp_path):
    marker = tmp_path / "marker"
    path = write({"DFT_1st": [step(), {**step(), "energy": Hostile(marker)}]})
    with pytest.raises(InputError, match=r"Data01\.lmdb, key 000000000.*system"):
        list(pubchemqcr.read(path))
    assert not marker.exists()


@pytest.mark.parametrize("symbol", ["Xx", "X", "", None])
def test_what_is_no_element_is_named(write, symbol):
    wrong = step()
    wrong["coordinates"][0]["atom"] = wrong["gradient"][0]["atom"] = symbol
    with pytest.raises(InputError, match="DFT_1st, step 1"):
        list(pubchemqcr.read(write({"DFT_1st": [step(), wrong]})))


def test_real_file(shared_data):
    path = shared_data / "pubchemqcr" / "Data06.lmdb"
    structures = list(pubchemqcr.read(path))
    assert len(structures) == 118 and len({s.group for s in structures}) == 12
    assert {z for s in structures for z in s.z.tolist()} == {1, 6, 7, 8, 16, 17}
    assert len(list(pubchemqcr.read(path, stages=["hf"]))) == 113
    # Forces are minus the gradient of the energy: along a step of the relaxation, by the trapezium rule.
    for a, b in pairwise(s for s in structures if s.config_type == "DFT_2nd"):
        if a.group == b.group and abs(a.energy - b.energy) > 1e-4:
            work = -np.sum((a.forces + b.forces) / 2 * (b.pos - a.pos))
            assert work == pytest.approx(b.energy - a.energy, rel=0.02)

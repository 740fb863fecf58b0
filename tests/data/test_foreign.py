"""Forms that are not read say how to get their content in, and never pass for something else."""

import gzip
import pickle

import pytest

from equitensor.data import open_snapshots
from equitensor.errors import InputError

PYMATGEN = '[{"energy": -1, "structure": {"@module": "pymatgen.core.structure", "@class": "Structure"}}]'
MTP = "BEGIN_CFG\n Size\n  1\n Supercell\n  4 0 0\n AtomData:  id type\n  1 0\n Energy\n  -3.5\nEND_CFG\n"
QM9 = (
    "3\ngdb 3\t799.58\t437.9\t282.94\t1.85\t6.31\t-0.29\t0.06\t0.36\t19.0\t0.02\t-76.404\t-76.40\t-76.4\t-76.42\t6.0\n"
    "O\t-0.03\t 0.97\t 1.5*^-6\t-0.58\nH\t 0.06\t 0.02\t 0.002\t 0.29\nH\t 0.87\t 1.3\t 0.0007\t 0.29\n"
    "1671.4\t3803.6\t3907.7\nO\tO\nInChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2\n"
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(600), "HDF5 .*h5py"),
        ("a.hdf5", b"", "HDF5 .*h5py"),
        ("noname", b"\x89HDF\r\n\x1a\n" + bytes(600), "HDF5 .*h5py"),
        ("a.npz", b"PK\x03\x04", "np.load it and write one Atoms"),
        ("a.cfg", MTP.encode(), "PlusStress, a virial in eV, as REF_virial"),
        ("train.cfgs", MTP.encode(), "PlusStress, a virial in eV, as REF_virial"),
        ("a.json", PYMATGEN.encode(), "AseAtomsAdaptor.get_atoms"),
        ("a.json.gz", gzip.compress(PYMATGEN.encode(), mtime=0), "AseAtomsAdaptor.get_atoms"),
        ("a.pkl.gz", gzip.compress(pickle.dumps({}), mtime=0), "pandas.read_pickle"),
        ("a.pckl.gzip", gzip.compress(pickle.dumps({}), mtime=0), "pandas.read_pickle"),
        ("a.pt", b"PK\x03\x04", "torch.load"),
        ("dsgdb9nsd_000003.xyz", QM9.encode(), "in the form of QM9"),
        ("qm9.xyz.tar.bz2", b"BZh", "an archive; unpack it"),
    ],
)
def test_a_known_form_says_how_to_get_it_in(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    for options in ({}, {"format": "ase"}):
        with pytest.raises(InputError, match=rf"{name}: .*{message}"):
            open_snapshots(tmp_path / name, **options)


def test_a_folder_of_nothing_else_says_so_too(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.cfg").write_text(MTP)
    with pytest.raises(InputError, match=r"no file here or in its folders has a known format.*PlusStress"):
        open_snapshots(tmp_path)


def test_in_a_folder_the_others_are_read_and_these_are_mentioned(tmp_path, caplog):
    (tmp_path / "a.xyz").write_text("1\nenergy=-1\nH 0 0 0\n")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert len(open_snapshots(tmp_path)) == 1
    assert "b.h5" in caplog.text and "h5py" in caplog.text

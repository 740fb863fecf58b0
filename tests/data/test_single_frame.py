"""One structure of a file, a store, a folder: the one asked for, or the last."""

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from equitensor.data import convert
from equitensor.data.single_frame import read_single
from equitensor.errors import InputError
from equitensor.graph import Structure


def frames(count=5) -> list:
    made = []
    for k in range(count):
        atoms = molecule("H2O")
        atoms.positions += 0.01 * k
        made.append(atoms)
    return made


@pytest.fixture
def sources(tmp_path):
    """The same five structures as a file of frames, a store, a folder of two files."""
    every = [Structure.from_ase(atoms, energy=float(k)).to_ase() for k, atoms in enumerate(frames())]
    ase.io.write(tmp_path / "frames.xyz", every)
    convert([tmp_path / "frames.xyz"], tmp_path / "store.lmdb")
    (tmp_path / "folder").mkdir()
    ase.io.write(tmp_path / "folder" / "1.xyz", every[:2])
    ase.io.write(tmp_path / "folder" / "2.xyz", every[2:])
    return tmp_path


@pytest.mark.parametrize("name", ["frames.xyz", "store.lmdb", "folder"])
def test_a_number_or_the_last(sources, name):
    for index, number in ((None, 4), (0, 0), (3, 3), (-2, 3), (-5, 0)):
        single = read_single(sources / name, index)
        np.testing.assert_allclose(single.positions, frames()[number].positions, atol=1e-7)
    for index in (5,) if name == "frames.xyz" else (5, -6):  # ASE takes -6 of five for the first
        with pytest.raises(InputError, match=rf"{name}: .*no structure number {index}"):
            read_single(sources / name, index)

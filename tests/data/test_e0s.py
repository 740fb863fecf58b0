"""E0s from every place they can come from."""

import json
import re

import numpy as np
import pytest

from equitensor.data import Memory, open_snapshots, resolve_e0s
from equitensor.errors import InputError
from equitensor.graph import Structure

E0 = {1: -13.6, 6: -1029.0, 8: -2041.5}


def molecule(z, energy=None, cell=0.0, config_type=None):
    pos = np.arange(3.0 * len(z)).reshape(-1, 3)
    periodic = np.full(3, cell > 0)
    return Structure(np.array(z), pos, np.eye(3) * cell, periodic, energy, config_type=config_type, source="x")


def bound(*z):
    return molecule(z, sum(E0[i] for i in z))


def atoms():
    return [molecule([z], e) for z, e in E0.items()]


def test_isolated_atoms_in_the_data_come_first():
    snapshots = Memory([bound(1, 8, 1), *atoms(), bound(6, 8)])
    e0s = resolve_e0s(None, snapshots)
    assert e0s.values == E0 and e0s.origin == "isolated atoms in the data"
    assert snapshots.index.has(8).tolist() == [False, True, True, True, False]


def test_a_single_atom_in_a_small_cell_is_a_crystal():
    crystal, boxed = molecule([6], -8.0, cell=2.5), molecule([6], -1.0, cell=20.0)
    named = molecule([6], -1.0, cell=2.5, config_type="IsolatedAtom")
    assert Memory([crystal, boxed, named]).index.has(8).tolist() == [False, True, True]


def test_two_energies_of_one_isolated_atom_are_refused():
    with pytest.raises(InputError, match="second isolated H atom"):
        resolve_e0s(None, Memory([molecule([1], -13.6), molecule([1], -13.5)]))


def test_a_mapping_takes_symbols_and_numbers():
    assert resolve_e0s({"H": -13.6, 6: -1029.0, "8": -2041.5}, Memory([bound(1, 6, 8)])).values == E0
    with pytest.raises(InputError, match="no E0 for C, O"):
        resolve_e0s({"H": -13.6}, Memory([bound(1, 6, 8)]))
    with pytest.raises(InputError, match="'Hx' is no element"):
        resolve_e0s({"Hx": -13.6}, Memory([bound(1)]))
    with pytest.raises(InputError, match="the E0 of H is 'low'"):
        resolve_e0s({"H": "low"}, Memory([bound(1)]))


def test_files_of_each_kind(tmp_path):
    snapshots = Memory([bound(1, 6, 8)])
    (tmp_path / "a.json").write_text(json.dumps({"H": -13.6, "C": -1029.0, "O": -2041.5}))
    (tmp_path / "a.yaml").write_text("{H: -13.6, 6: -1029.0, O: -2041.5}")
    (tmp_path / "a.xyz").write_text(
        "".join(f"1\nenergy={E0[z]} pbc='F F F'\n{s} 0 0 0\n" for s, z in {"H": 1, "C": 6, "O": 8}.items())
    )
    coefficients = np.full(100, 1e13)
    coefficients[list(E0)] = list(E0.values())
    np.savez(tmp_path / "a.npz", coeff=coefficients)
    for name in ("a.json", "a.yaml", "a.xyz", "a.npz"):
        e0s = resolve_e0s(tmp_path / name, snapshots)
        assert e0s.values == E0 and name in e0s.origin
    with pytest.raises(InputError, match="no E0 for N"):
        resolve_e0s(tmp_path / "a.npz", Memory([molecule([7])]))
    with pytest.raises(InputError, match=r"b\.json: no such file"):
        resolve_e0s(tmp_path / "b.json", snapshots)


def test_least_squares_find_what_compositions_determine(caplog):
    snapshots = Memory([bound(1, 1), bound(1, 8, 1), bound(6, 8), bound(6, 8, 8)])
    e0s = resolve_e0s(None, snapshots)
    assert e0s.values == pytest.approx(E0, abs=1e-8) and not caplog.records
    assert "4 structures of 4 compositions" in e0s.origin


def test_one_composition_gives_its_mean_per_atom_with_a_warning(caplog):
    snapshots = Memory([molecule([8, 1, 1], -18.0), molecule([8, 1, 1], -12.0), molecule([8, 1, 1], 1e6)])
    e0s = resolve_e0s("fit", snapshots, indices=[0, 1])
    assert e0s.values == pytest.approx({1: -5.0, 8: -5.0})
    assert "do not determine 1 combination of the E0s of H, O" in caplog.text
    assert "1 combination undetermined" in e0s.origin


def test_elements_that_share_all_their_structures_are_named(caplog):
    """NaCl and H2O, O2, H2, which agree: the sum of Na and Cl is determined, and H and O are."""
    frames = [molecule([11, 17], -20.0), molecule([8, 1, 1], -15.0), molecule([8, 8], -10.0), molecule([1, 1], -10.0)]
    e0s = resolve_e0s("fit", Memory(frames))
    assert "1 combination of the E0s of Na, Cl" in caplog.text
    assert e0s.values[11] + e0s.values[17] == pytest.approx(-20.0)
    assert (e0s.values[8], e0s.values[1]) == pytest.approx((-5.0, -5.0))


def test_a_rare_element_does_not_take_the_whole_residual_of_its_structure():
    """Formation energies of 0.5 eV an atom beside E0s that spread by 1 eV: what one structure says is shrunk."""
    rng = np.random.default_rng(0)
    e0 = dict(zip(range(1, 11), -5 + rng.normal(size=10), strict=True))
    frames = []
    for _ in range(60):
        z = rng.integers(1, 10, 3).tolist()
        frames.append(molecule(z, sum(e0[i] for i in z) + 1.5 * rng.normal()))
    lone = molecule([1, 2, 3, 4, 10], sum(e0[i] for i in (1, 2, 3, 4, 10)) - 10.0)
    fitted = resolve_e0s("fit", Memory([*frames, lone])).values
    free = -10.0 + e0[10]  # what least squares alone would give it, nearly
    assert abs(fitted[10] - e0[10]) < 0.5 * abs(free - e0[10])
    assert np.mean([abs(fitted[i] - e0[i]) for i in range(1, 10)]) < 0.6


def test_what_compositions_leave_open_is_guessed_from_cohesive_energies_and_alike_elements():
    """Elements, and RbMo: its energy is parted as those of Rb (0.85 eV) and Mo (6.82 eV); equal parts would be 3.8."""
    cohesive = {6: 7.37, 13: 3.39, 19: 0.93, 26: 4.28, 29: 3.49, 30: 1.35, 41: 7.57, 55: 0.80, 74: 8.90}
    frames = [molecule([z, z], -2 * energy) for z, energy in cohesive.items()]
    fitted = resolve_e0s("fit", Memory([*frames, molecule([37, 42], -7.67)])).values
    assert fitted[37] == pytest.approx(-0.85, abs=0.6) and fitted[42] == pytest.approx(-6.82, abs=0.6)


def test_compositions_that_are_nearly_the_same_do_not_drive_e0s_apart():
    """0.3 eV an atom between two alloys of nearly one composition, which E0s of -10.3 and 2.3 eV fit alone."""
    frames = [
        molecule([28] * 10 + [29] * 10, -80.0),
        molecule([28] * 11 + [29] * 10, -21 * 4.3),
        molecule([28, 8], -9.0),
    ]
    fitted = resolve_e0s("fit", Memory(frames)).values
    assert abs(fitted[28] + 4.2) < 1 and abs(fitted[29] + 4.2) < 1


def test_the_fit_says_how_far_a_composition_that_is_left_out_is_missed():
    """Energies of 12 elements in 300 compositions, 0.2 eV an atom off the sums of their E0s."""
    rng = np.random.default_rng(0)
    e0, frames = dict(zip(range(20, 32), rng.normal(-4, 2, 12), strict=True)), []
    for _ in range(300):
        z = rng.integers(20, 32, 6).tolist()
        frames.append(molecule(z, sum(e0[i] for i in z) + 6 * 0.2 * rng.normal()))
    text = resolve_e0s("fit", Memory(frames)).origin
    missed = re.search(r"for a composition left out is (\S+) eV per atom", text)
    assert float(missed[1]) == pytest.approx(0.2, rel=0.15)


def test_no_energies_to_fit():
    with pytest.raises(InputError, match="no energies to fit"):
        resolve_e0s(None, Memory([molecule([1, 1])]))


def test_real_references(shared_data):
    train = open_snapshots(shared_data / "acac" / "train_300K.xyz")
    isolated = resolve_e0s(shared_data / "acac" / "isolated_atoms.xyz", train).values
    both = open_snapshots([shared_data / "acac" / n for n in ("train_300K.xyz", "isolated_atoms.xyz")])
    assert resolve_e0s(None, both).values == isolated and isolated[6] == -1026.8538996116154
    oxygen = Memory([molecule([8])])
    linear = resolve_e0s(shared_data / "oc20" / "oc20_linref.npz", oxygen).values
    assert set(linear) == {8} and -20 < linear[8] < 0


def test_a_damaged_npz_is_named(tmp_path):
    np.savez(tmp_path / "whole.npz", coeff=np.zeros(9))
    np.savez(tmp_path / "objects.npz", coeff=np.array([None, {}], dtype=object))
    np.savez(tmp_path / "words.npz", coeff=np.array(["H", "O"]))
    np.savez(tmp_path / "table.npz", coeff=np.zeros((3, 3)))
    np.savez(tmp_path / "nan.npz", coeff=np.full(9, np.nan))
    contents = {"cut": (tmp_path / "whole.npz").read_bytes()[:60], "empty": b"", "text": b"H -13.6\n"}
    for name, content in contents.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    for name in (*contents, "objects", "words", "table", "nan"):
        with pytest.raises(InputError, match=rf"{name}\.npz") as caught:
            resolve_e0s(tmp_path / f"{name}.npz", Memory([molecule([7])]))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(tmp_path)) + 120
    for name in (*contents, "objects"):
        with pytest.raises(InputError) as caught:
            resolve_e0s(tmp_path / f"{name}.npz", Memory([molecule([7])]))
        assert str(caught.value) == (
            f"data.e0s: {tmp_path / name}.npz is no whole npz file of numbers: it is damaged, or of another kind"
        )


def test_numbers_in_yaml_are_numbers(tmp_path):
    (tmp_path / "a.yaml").write_text("H: -1.36e1\n")
    assert resolve_e0s(tmp_path / "a.yaml", Memory([molecule([1], -1.0)])).values == {1: -13.6}

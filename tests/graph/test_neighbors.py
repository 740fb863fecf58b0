"""Neighbour lists against a brute-force count over images, and the order that models rely on."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from equitensor.graph import AtomicGraph, Structure, from_ase, neighbor_list, neighbors

CUTOFF = 4.0


def rattled(atoms):
    atoms.rattle(0.05, seed=1)
    return atoms


def brute_force(atoms, images=4):
    """The set of (sender, receiver, shift) nearer than the cutoff."""
    ranges = [range(-images, images + 1) if periodic else (0,) for periodic in atoms.pbc]
    edges = set()
    for shift in itertools.product(*ranges):
        offset = np.array(shift) @ atoms.cell.array
        distance = np.linalg.norm(atoms.positions[None] - atoms.positions[:, None] + offset, axis=2)
        for sender, receiver in np.argwhere(distance < CUTOFF):
            if sender != receiver or any(shift):
                edges.add((int(sender), int(receiver), *shift))
    return edges


STRUCTURES = {
    "molecule": molecule("CH3CH2OH"),
    "one atom": Atoms("He"),
    "one atom per cell": bulk("Cu"),
    "slab without a third lattice vector": fcc111("Al", (2, 1, 2)),
    "wire": Atoms("H2", [[0, 0, 0], [0, 0.3, 1.1]], cell=[0, 0, 2.0], pbc=[False, False, True]),
    "skewed cell": Atoms("NaCl", [[0, 0, 0], [1.7, 0.4, 2.0]], cell=[[3, 0, 0], [1.4, 3, 0], [0.3, -1.2, 4]], pbc=True),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_all_pairs_of_all_images(name):
    atoms = rattled(STRUCTURES[name].copy())
    edge_index, shift, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
    edges = {(int(j), int(i), *map(int, s)) for j, i, s in zip(*edge_index, shift, strict=True)}
    assert len(edges) == edge_index.shape[1]
    assert edges == brute_force(atoms)


@pytest.mark.parametrize("name", STRUCTURES)
def test_edges_are_sorted_by_receiver_and_know_their_reverse(name):
    graph = from_ase([rattled(STRUCTURES[name].copy())] * 2, CUTOFF)
    vectors, (sender, receiver) = graph.edge_vectors(), graph.edge_index
    assert (receiver.diff() >= 0).all()
    assert (vectors.norm(dim=1) < CUTOFF).all()
    assert (vectors[graph.rev] + vectors).abs().sum() < 1e-9
    assert (sender[graph.rev] == receiver).all()
    assert (graph.batch[sender] == graph.batch[receiver]).all()


@pytest.mark.parametrize("cells", [1, 10, 10**6], ids=["one number", "long digits", "digits beyond 64 bits"])
def test_edges_of_atoms_many_cells_apart_are_sorted_by_shift_too(cells):
    atoms = rattled(bulk("NaCl", "rocksalt", a=5.6, cubic=True))
    whole = [[cells, -cells, cells]] * 4 + [[0, 0, 0]] * 4
    far = atoms.positions + np.array(whole) @ atoms.cell.array
    edge_index, shift, rev = neighbor_list(far, atoms.cell.array, atoms.pbc, CUTOFF)
    rows = [(receiver, sender, *moved[::-1]) for (sender, receiver), moved in zip(edge_index.T, shift, strict=True)]
    assert rows == sorted(rows) and len(rows) > 100
    assert np.array_equal(edge_index[:, rev], edge_index[::-1]) and np.array_equal(shift[rev], -shift)
    near, unmoved, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
    moved = np.array(whole)[edge_index[0]] - np.array(whole)[edge_index[1]]
    assert {(*edge, *s) for edge, s in zip(edge_index.T, shift - moved, strict=True)} == {
        (*edge, *s) for edge, s in zip(near.T, unmoved, strict=True)
    }


FAR = {
    "an atom far above a slab": (fcc111("Al", (2, 2, 2), vacuum=5, periodic=False), [0, 0, 1e5]),
    "a lost atom of a molecule": (molecule("CH3CH2OH"), [1e6, 1e6, -1e6]),
    "a lost atom of a wire": (STRUCTURES["wire"], [1e6, 0, 0]),
    "a huge box": (Atoms("H3", [[0, 0, 0], [0, 0, 1], [0, 0, 5]], cell=[10, 10, 1e6], pbc=True), [0, 0, 5e5]),
}


@pytest.mark.parametrize("name", FAR)
def test_a_far_atom_costs_nothing_and_changes_no_other_edge(name):
    atoms, step = FAR[name]
    atoms, last = rattled(atoms.copy()), len(atoms) - 1
    atoms.positions[-1] += step
    (sender, receiver), shift, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
    assert ((sender == last) == (receiver == last)).all()  # its own images only
    others = atoms[:-1]
    expected, expected_shift, _ = neighbor_list(others.positions, others.cell.array, others.pbc, CUTOFF)
    kept = sender != last
    assert np.array_equal([sender[kept], receiver[kept]], expected)
    assert np.array_equal(shift[kept], expected_shift)


def test_an_atom_many_cells_away_is_in_the_cell_all_the_same():
    atoms = rattled(STRUCTURES["skewed cell"].copy())
    near = from_ase(atoms, CUTOFF)
    atoms.positions[-1] += np.array([100_000, -3, 40_000]) @ atoms.cell.array
    far = from_ase(atoms, CUTOFF)
    assert far.num_edges == near.num_edges
    lengths = [graph.edge_vectors().norm(dim=1).sort().values for graph in (far, near)]
    assert (lengths[0] - lengths[1]).abs().max() < 1e-8


@pytest.mark.parametrize("name", STRUCTURES)
def test_tree_and_grid_find_the_same_edges(name):
    atoms = rattled(STRUCTURES[name].copy()) * [3 if p else 1 for p in STRUCTURES[name].pbc]
    atoms.positions += np.random.default_rng(0).normal(scale=8.0, size=(len(atoms), 3))  # out of the cell
    box = neighbors._box(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
    results = []
    for search in (neighbors._by_tree, neighbors._by_grid):
        sender, receiver, shift = search(atoms.positions, box, atoms.pbc, CUTOFF)
        results.append(sorted(zip(sender, receiver, *shift.T, strict=True)))
    assert results[0] == results[1]
    assert results[0] or not atoms.pbc.any()


def test_a_periodic_direction_needs_a_lattice_vector():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]], pbc=[True, False, False])
    with pytest.raises(ValueError, match="no lattice vector"):
        from_ase(atoms, CUTOFF)


def test_a_position_that_is_not_finite_is_named_with_its_source():
    structure = Structure.from_ase(Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), source="bad.xyz, frame 3")
    with pytest.raises(ValueError, match=r"bad\.xyz, frame 3: .*atom 1 is not finite"):
        AtomicGraph.from_structure(structure, CUTOFF)


def test_structures_survive_the_way_to_ase_and_back():
    from ase.constraints import FixAtoms

    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixAtoms([1, 2]))
    structure = Structure.from_ase(atoms, energy=-1.5, forces=np.ones((4, 3)), stress=np.diag([1.0, 2.0, 3.0]))
    again = structure.to_ase()
    assert again.get_potential_energy() == -1.5
    assert again.get_stress().tolist() == [1, 2, 3, 0, 0, 0]
    assert Structure.from_ase(again).fixed.tolist() == [False, True, True, False]


def test_crystals_have_the_neighbours_that_ase_finds(shared_data):
    """Every tenth of a thousand, from two atoms a cell on: sender, receiver and cell shift of each edge."""
    import ase.io
    from ase.neighborlist import neighbor_list as by_ase

    frames = ase.io.read(shared_data / "periodic" / "mptrj-random-1k.xyz", "::10")
    for number, atoms in enumerate(frames):
        (sender, receiver), shift, rev = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 4.93)
        i, j, cells = by_ase("ijS", atoms, 4.93)
        order = np.lexsort((*cells.T, i, j))
        expected = np.column_stack([i, j, cells])[order]
        assert np.array_equal(np.column_stack([sender, receiver, shift]), expected), number
        assert np.array_equal(np.column_stack([receiver, sender, -shift])[rev], expected), number
    assert len(frames) == 100 and min(map(len, frames)) == 2

"""Neighbour lists against a brute-force count over images, and the order that models rely on."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from equitensor.graph import AtomicGraph, Structure, from_ase, neighbor_list

CUTOFF = 4.0


def rattled(atoms):
    atoms.rattle(0.05, seed=1)
    return atoms


def brute_force(atoms, images=4):
    """The set of (sender, receiver, shift) nearer than the cutoff."""
    ranges = [range(-images, images + 1) if periodic else (0,) for periodic in atoms.pbc]
    found = set()
    for shift in itertools.product(*ranges):
        offset = np.array(shift) @ atoms.cell.array
        distance = np.linalg.norm(atoms.positions[None] - atoms.positions[:, None] + offset, axis=2)
        for sender, receiver in np.argwhere(distance < CUTOFF):
            if sender != receiver or any(shift):
                found.add((int(sender), int(receiver), *shift))
    return found


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
    found = {(int(j), int(i), *map(int, s)) for j, i, s in zip(*edge_index, shift, strict=True)}
    assert len(found) == edge_index.shape[1]
    assert found == brute_force(atoms)


@pytest.mark.parametrize("name", STRUCTURES)
def test_edges_are_sorted_by_receiver_and_know_their_reverse(name):
    graph = from_ase([rattled(STRUCTURES[name].copy())] * 2, CUTOFF)
    vectors, (sender, receiver) = graph.edge_vectors(), graph.edge_index
    assert (receiver.diff() >= 0).all()
    assert (vectors.norm(dim=1) < CUTOFF).all()
    assert (vectors[graph.rev] + vectors).abs().sum() < 1e-9
    assert (sender[graph.rev] == receiver).all()
    assert (graph.batch[sender] == graph.batch[receiver]).all()


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

"""Many structures at once: neighbours that follow them, and results that are those of each alone."""

import copy

import numpy as np
import pytest
import torch
from evaluator_cases import random_potential, structures

from equitensor import Calculator
from equitensor.errors import InputError
from equitensor.graph import AtomicGraph, Structure, from_ase
from equitensor.interfaces.batched_engines import open_batched
from equitensor.interfaces.batched_list import Batch, BatchedList
from equitensor.interfaces.evaluator_library import why_not

CUTOFF = 4.5
core = pytest.param("core", marks=pytest.mark.skipif(why_not() is not None, reason=str(why_not())))


def batched(several) -> Batch:
    graph = AtomicGraph.collate([AtomicGraph.from_structure(Structure.from_ase(atoms), 0.1) for atoms in several])
    return Batch(graph.z, graph.pos, graph.batch, graph.cell, graph.pbc)


@pytest.fixture
def several():
    """Copies that a test may move."""
    return [atoms.copy() for atoms in structures().values()]


def rows(graph):
    """The edges as sorted rows."""
    return sorted(torch.cat([graph.edge_index, graph.shift.T]).T.tolist())


def test_the_graph_is_that_of_a_fresh_search_however_atoms_and_cells_move(several):
    rng, neighbors = np.random.default_rng(0), BatchedList(CUTOFF, skin=0.6)
    for step in range(30):
        for atoms in several[: 3 if step % 2 else None]:
            atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape) + 0.3  # and a drift
            if atoms.pbc.all():
                strain = np.eye(3) + 0.01 * rng.standard_normal((3, 3))
                atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        graph, expected = neighbors.graph(batched(several)), from_ase(several, CUTOFF)
        assert rows(graph) == rows(expected)
        torch.testing.assert_close(
            graph.edge_vectors().norm(dim=1).sort()[0], expected.edge_vectors().norm(dim=1).sort()[0]
        )
        graph.replace(edge_index=graph.edge_index)  # its order is checked
    assert len(several) < neighbors.builds < 20 * len(several)


def test_only_structures_whose_atoms_moved_are_searched_anew(several):
    neighbors = BatchedList(CUTOFF, skin=0.5)
    assert neighbors.follow(batched(several))
    assert not neighbors.follow(batched(several))
    assert neighbors.builds == len(several)
    several[0].positions[0, 0] += 0.4
    several[3].positions += 40.0  # all together: no distance changes
    assert neighbors.follow(batched(several))
    assert neighbors.builds == len(several) + 1
    slab = several[2]
    slab.set_cell(slab.cell.array * 1.001, scale_atoms=False)  # not periodic along all vectors: no bound for it
    assert neighbors.follow(batched(several))
    assert neighbors.builds == len(several) + 2
    assert neighbors.follow(batched(several[::-1]))
    assert neighbors.builds == 2 * len(several) + 2


@pytest.mark.parametrize("backend", ["torch", core])
@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-10), ("float32", 1e-4)])
def test_results_are_those_of_each_structure_alone(several, backend, precision, tolerance):
    model = random_potential(zbl=True)
    engine, _ = open_batched(model, "cpu", precision, backend=backend)
    assert engine.backend == backend
    for _ in range(2):
        together = engine.compute(batched(several))
        assert all(value.dtype == torch.float64 and not value.requires_grad for value in together.values())
        start = 0
        for k, atoms in enumerate(several):
            calc = Calculator(model, "cpu", "float64", backend="torch")
            atoms.calc, end = calc, start + len(atoms)
            close = {"rtol": tolerance, "atol": tolerance}
            np.testing.assert_allclose(together["energy"][k], atoms.get_potential_energy(), **close)
            np.testing.assert_allclose(together["energies"][start:end], atoms.get_potential_energies(), **close)
            np.testing.assert_allclose(together["forces"][start:end], atoms.get_forces(), **close)
            if atoms.pbc.all():
                np.testing.assert_allclose(together["stress"][k], atoms.get_stress(voigt=False), **close)
            else:
                assert together["stress"][k].isnan().all()
            start = end
        for atoms in several:
            atoms.positions[0] += 0.1  # once more by the same lists
    less = engine.compute(batched(several), forces=False, stress=False)
    assert set(less) == {"energy", "energies"}
    assert "forces" not in engine.compute(batched(several), forces=False)
    twin = copy.deepcopy(engine).compute(batched(several))
    torch.testing.assert_close(twin["forces"], engine.compute(batched(several))["forces"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("backend", ["torch", core])
def test_structures_that_cannot_be(several, backend):
    engine, _ = open_batched(random_potential(), "cpu", backend=backend)
    good = batched(several)

    def refused(message, **changes):
        with pytest.raises(InputError, match=message):
            engine.compute(Batch(**{**vars(good), **changes}))

    for _ in range(2):  # at first, and once lists are there
        z = good.z.clone()
        z[0] = 30
        refused("the structure holds Zn", z=z)
        pos = good.pos.clone()
        pos[1, 2] = torch.nan
        refused("structure 0: the position of atom 1 is not finite", pos=pos)
        pos[1] = pos[0]
        refused("structure 0: atoms 0 and 1 are in the same place", pos=pos)
        cell = good.cell.clone()
        cell[1, 2] = cell[1, 1]
        refused("structure 1: .*does not span", cell=cell)
        refused("do not lie next to each other", batch=good.batch.flip(0))
        refused("there are 1 cells", cell=good.cell[:1], pbc=good.pbc[:1])
        refused("structure 0 has no atoms", batch=good.batch.clamp(min=1))
        refused("there are no atoms", z=z[:0], pos=pos[:0], batch=good.batch[:0])
        assert engine.compute(good)["forces"].isfinite().all()

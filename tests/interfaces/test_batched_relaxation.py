"""Many structures relaxed at once: each as ASE's L-BFGS relaxes it alone."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.optimize import LBFGS

from equitensor import Calculator
from equitensor.errors import InputError
from equitensor.graph import Structure, check_geometry
from equitensor.interfaces.batched_engines import open_batched
from equitensor.interfaces.batched_relaxation import relax_many

FMAX = 0.05


def structures():
    """Molecules and a crystal with an atom that is held, all out of their minima."""
    crystal = bulk("C", cubic=True)
    crystal.set_constraint(FixAtoms([0, 3]))
    frames = [molecule("CH3OH"), crystal, molecule("H2O"), molecule("CH4")]
    for seed, atoms in enumerate(frames):
        atoms.positions += 0.05 * np.random.default_rng(seed).standard_normal((len(atoms), 3)) * (seed < 3)
        if atoms.constraints:
            atoms.positions[[0, 3]] = bulk("C", cubic=True).positions[[0, 3]]
    return frames


@pytest.fixture(params=["core", "torch"])
def engine(request, trained_file):
    return open_batched(trained_file, "cpu", "float64", backend=request.param)[0]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_takes_the_path_that_it_takes_alone(engine, trained_file, batch_size):
    together = structures()
    relaxed = list(relax_many(engine, map(Structure.from_ase, together), FMAX, 25, batch_size))
    ends = set()
    for atoms, end in zip(together, relaxed, strict=True):
        atoms.calc = Calculator(trained_file, device="cpu", dtype="float64")
        start = atoms.get_potential_energy()
        alone = LBFGS(atoms, logfile=None)
        converged = alone.run(fmax=FMAX, steps=25)
        ends.add((converged, alone.nsteps))
        assert (end.converged, end.steps) == (converged, alone.nsteps)
        assert end.start == pytest.approx(start, abs=1e-9)
        np.testing.assert_allclose(end.structure.pos, atoms.positions, atol=1e-7)
        assert end.structure.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(end.structure.forces, atoms.get_forces(apply_constraint=False), atol=1e-6)
    assert len(ends) > 2  # they do not end together
    np.testing.assert_array_equal(relaxed[1].structure.pos[[0, 3]], together[1].positions[[0, 3]])


def test_one_that_is_no_structure_has_a_fault_and_stops_no_other(engine):
    good, bad = Structure.from_ase(molecule("H2O")), Structure.from_ase(molecule("CH4"))
    bad = bad.replace(pos=np.zeros((5, 3)))
    first, second, third = relax_many(engine, [bad, good, bad], FMAX, 2)
    assert "the same place" in first.fault and first.fault == third.fault and not second.fault and second.steps == 2


class Toy:
    """H atoms are driven together, He atoms towards zero; where atoms meet, or He is too far out, it refuses."""

    device = "cpu"

    def compute(self, batch, stress):
        for k in range(batch.num_graphs):
            mine = batch.batch == k
            check_geometry(batch.pos[mine].numpy(), batch.cell[k].numpy(), batch.pbc[k].numpy())
        direction = torch.zeros_like(batch.pos)
        direction[:, 0] = torch.where(batch.pos[:, 0] < 0.5, 7.0, -7.0)
        forces = torch.where((batch.z == 1)[:, None], direction, -35 * batch.pos)
        forces[batch.pos.norm(dim=1) > 90] = torch.nan
        return {"energy": batch.sums(17.5 * batch.pos.square().sum(1)), "forces": forces}


def test_one_that_becomes_absurd_on_its_way_is_ended_there():
    pair = Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [1, 0, 0]]), np.zeros((3, 3)), np.zeros(3, bool))
    lone = pair.replace(z=np.array([2]), pos=np.array([[0.0, 0, 3]]))
    far = lone.replace(pos=np.array([[0.0, 0, 100]]))
    first, second, third = relax_many(Toy(), [pair, lone, far], 1e-3, 60)
    assert (first.steps, first.converged) == (5, False) and "the same place" in first.fault
    assert first.structure.energy is None and np.isfinite(first.start)
    assert second.converged and not second.fault and second.structure.pos[0, 2] == pytest.approx(0, abs=1e-4)
    assert second.start == pytest.approx(17.5 * 9) and 5 < second.steps < 60
    assert (third.steps, third.fault) == (0, "the model gives no finite forces")


def test_what_is_asked_for_must_make_sense(engine):
    with pytest.raises(InputError, match="must be above 0"):
        list(relax_many(engine, [], fmax=0))
    with pytest.raises(InputError, match="Si"):
        list(relax_many(engine, [Structure.from_ase(molecule("SiH4"))]))

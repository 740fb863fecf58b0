"""OC20's scores, and tables by groups, against numbers worked out by hand."""

import numpy as np
import pytest

from equitensor.graph import Structure
from equitensor.training.errors import ErrorSums
from equitensor.training.evaluation import tally
from equitensor.training.scores import scores_of


def slab(energy=-1.0, forces=None, fixed=(True, False, False), **more):
    """Two copper atoms, of which the first is held, and a hydrogen."""
    return Structure(
        z=np.array([29, 29, 1]),
        pos=np.array([[0.0, 0, 0], [0, 0, 2.5], [0, 0, 4]]),
        cell=9 * np.eye(3),
        pbc=np.ones(3, bool),
        energy=energy,
        forces=np.array([[9.0, 9, 9], [1, 0, 0], [0, 2, 0]]) if forces is None else np.array(forces),
        fixed=np.array(fixed),
        tags=np.array([0, 1, 2]),
        **more,
    )


def test_the_cosine_is_that_of_each_free_atom():
    predicted = slab(forces=[[-9.0, -9, -9], [1, 1, 0], [0, -3, 0]])
    assert scores_of(slab(), predicted)["forces_cosine"] == pytest.approx([np.sqrt(0.5), -1])
    nothing = slab(forces=np.zeros((3, 3)))
    assert scores_of(slab(), nothing)["forces_cosine"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("energy", "force", "within", "both"),
    [(-1.0199, 1.0299, 1, 1), (-1.0201, 1.0299, 0, 0), (-1.0199, 1.0301, 1, 0), (-0.9801, 0.9701, 1, 1)],
)
def test_within_is_0_02_ev_and_0_03_ev_per_angstrom_in_every_component_of_free_atoms(energy, force, within, both):
    predicted = slab(energy, [[0.0, 0, 0], [force, 0, 0], [0, 2, 0]])
    scores = scores_of(slab(), predicted)
    assert (scores["ewt"].tolist(), scores["efwt"].tolist()) == ([within], [both])


def test_scores_without_their_labels_are_not_there():
    bare = slab().replace(forces=None)
    assert set(scores_of(bare, slab())) == {"ewt"}
    assert set(scores_of(slab().replace(energy=None), slab())) == {"forces_cosine"}
    assert set(scores_of(slab(fixed=(True, True, True)), slab())) == {"forces_cosine", "ewt"}  # no free atom
    assert ErrorSums().values()["efwt"] is None


def test_means_are_over_structures_and_over_atoms():
    """A frame right to the last digit, and one whose two free forces point the other way."""
    right, wrong = slab(config_type="a"), slab(config_type="b")
    opposite = wrong.replace(energy=-0.9, forces=-wrong.forces)
    lone = Structure(np.array([1]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool), energy=-13.0)
    tallied = tally([(right, right), (wrong, opposite), (lone, lone.replace(energy=-13.5))])
    metrics = tallied.metrics
    assert metrics["forces_cosine"] == pytest.approx(0) and metrics["efwt"] == 0.5
    assert metrics["ewt"] == pytest.approx(1 / 3) and metrics["energy_mae"] == pytest.approx(0.2)
    assert metrics["forces_mae"] == pytest.approx((2 + 4) / 12)
    plain = tallied.plain()
    assert {name: each["efwt"] for name, each in plain["by_config_type"].items() if "efwt" in each} == {"a": 1, "b": 0}
    assert plain["by_config_type"]["(none)"]["energy_mae"] == pytest.approx(0.5)
    assert set(plain["by_size"]) == {"1 atom", "2 to 3 atoms"} and plain["by_size"]["1 atom"]["n_structures"] == 1
    assert plain["by_element"]["H"]["forces_mae"] == pytest.approx(4 / 6)
    assert plain["by_element"]["Cu"] == pytest.approx(
        {"forces_mae": 2 / 6, "forces_rmse": np.sqrt(4 / 6), "forces_cosine": 0, "n_atoms": 4}
    )
    assert set(plain["by_tag"]) == {"0 sub-surface", "1 surface", "2 adsorbate"}
    assert plain["by_tag"]["0 sub-surface"] == {"n_atoms": 2}  # held in place
    assert plain["by_tag"]["2 adsorbate"]["forces_mae"] == pytest.approx(4 / 6)
    text = tallied.table()
    for words in ("cosine", "EFwT %", "50.00", "Errors by tag", "2 adsorbate", "Errors by size", "Errors by element"):
        assert words in text
    assert "cosine" not in tallied.table(scores=False)

"""Densities that are averages: what they divide by, and that strain finds no energy in them."""

import pytest
import torch

from equitensor import models
from equitensor.ops.radial import envelope

SETTINGS = {"cutoff": 4.0, "channels": 8, "edge_channels": 8, "lmax": 2}


def potential(normalized: bool, num_neighbors: float = 12.0):
    e0s = {3: -1.0, 9: -2.0}
    settings = SETTINGS | {"normalized": normalized}
    return models.build(settings, [3, 9], e0s, num_neighbors=num_neighbors).double().eval()


def test_they_are_sums_where_the_crowding_is_as_usual(make_structure, evaluate):
    """n / 3 neighbours, counted by the envelope with one for the atom, is the usual crowding."""
    pair = make_structure([3, 9], [[0, 0, 0], [1.9, 0, 0]])
    crowding = float(envelope(torch.tensor(1.9 / 4.0, dtype=torch.float64)))
    same = [evaluate(potential(how, 3 * (1 + crowding)), pair)["energy"] for how in (True, False)]
    assert torch.allclose(*same, rtol=0, atol=1e-12)
    three = make_structure([3, 9, 9], [[0, 0, 0], [1.9, 0, 0], [0, 1.9, 0]])
    other = [evaluate(potential(how, 3 * (1 + crowding)), three)["energy"] for how in (True, False)]
    assert not torch.allclose(*other, rtol=0, atol=1e-5)


def test_a_crowd_twice_as_dense_has_about_the_same_density(make_structure, evaluate):
    """The atom's first density, whose scalars are its features, grows with the crowd as a sum and not as an average."""
    crowd = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    crowd = 2.5 * crowd / crowd.norm(dim=1, keepdim=True)
    grown = {}
    for normalized in (True, False):
        model = potential(normalized)
        sizes = []
        for count in (20, 40):
            crowded = make_structure([3] + [9] * count, [[0, 0, 0], *crowd[:count].tolist()])
            structure = evaluate(model, crowded, features=True)
            sizes.append(structure["features"][0].norm())
        grown[normalized] = float(sizes[1] / sizes[0])
    assert grown[False] > 1.6 and grown[True] < 1.3, grown


def test_an_isolated_atom_has_its_e0(make_structure, evaluate):
    assert evaluate(potential(True), make_structure([9], [[0, 0, 0]]))["energy"].item() == pytest.approx(
        -2.0, abs=1e-12
    )

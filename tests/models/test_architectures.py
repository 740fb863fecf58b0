"""Potentials by their settings: defaults, and what no potential can be made of."""

import pytest

from equitensor import models
from equitensor.errors import InputError

SMALL = {"directional": {"channels": 4, "lmax": 1}, "dimenet++": {"channels": 8, "layers": 1, "lmax": 1}}


@pytest.mark.parametrize("name", SMALL)
def test_a_cutoff_that_is_left_out_is_the_default(name):
    model = models.build({"architecture": name, **SMALL[name]}, [1], {1: 0.0})
    assert model.cutoff == model.settings["cutoff"] == 5.0


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    "settings, message",
    [
        ({"cutoff": 0}, r"model\.cutoff is 0"),
        ({"cutoff": float("nan")}, r"model\.cutoff is nan"),
        ({"cutoff": "5"}, r"model\.cutoff is '5'"),
        ({"channels": 0}, r"model\.channels is 0: .*1 or more"),
        ({"channels": 2.5}, r"model\.channels is 2\.5"),
        ({"layers": 0}, r"model\.layers is 0"),
        ({"lmax": -1}, r"model\.lmax is -1: .*0 or more"),
        ({"num_radial": True}, r"model\.num_radial is True"),
    ],
)
def test_settings_without_a_meaning(name, settings, message):
    with pytest.raises(InputError, match=message):
        models.build({"architecture": name, **SMALL[name], **settings}, [1], {1: 0.0})


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([], {}), "give atomic numbers"),
        (([0], {0: 0.0}), "give atomic numbers"),
        (([119], {119: 0.0}), "give atomic numbers"),
        (([1, 6], {1: 0.0}), "E0 of atomic number 6 is None"),
        (([1], {1: float("nan")}), "E0 of atomic number 1 is nan"),
        (([1], {1: 0.0}, 0.0), "scale is 0"),
        (([1], {1: 0.0}, 1.0, float("inf")), "shift is inf"),
    ],
)
def test_numbers_without_a_meaning(arguments, message):
    with pytest.raises(InputError, match=message):
        models.build(SMALL["directional"], *arguments)


@pytest.mark.parametrize("seed", [2**70, -1, 1.5])
def test_a_seed_that_is_none(seed):
    with pytest.raises(InputError, match=r"seed is .*below 2\^32"):
        models.build(SMALL["directional"], [1], {1: 0.0}, seed=seed)

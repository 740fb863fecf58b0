"""What the pair style refuses, as errors of LAMMPS, and models that lack their dispersion there."""

import numpy as np
import pytest
from lammps_cases import ENERGY, alloy, parsed, runner

from equitensor import models
from equitensor.errors import InputError
from equitensor.interfaces.lammps import inputs
from equitensor.interfaces.lammps.check import check, of_calculator, of_lammps

HEAT = "compute k all ke/atom\ncompute p all pe/atom\ncompute s all stress/atom NULL virial\n"
HEAT += "compute h all heat/flux k p s\n"
STYLE = "pair_style equitensor\npair_coeff * * "
TWO = "pair_style hybrid equitensor zbl 3 4\npair_coeff * * equitensor {model} Al Cu\npair_coeff 1 2 zbl 13 29\n"
ERRORS = {
    "element": ("pair", STYLE + "{model} Al Xe\n", r"knows the elements H C O Al Cu, but not Xe \(atom type 2\)"),
    "symbol": ("pair", STYLE + "{model} Al copper\n", r"copper \(atom type 2\) is not a chemical element"),
    "count": ("pair", STYLE + "{model} Al\n", "names 1 elements, but there are 2 atom types"),
    "NULL": ("pair", STYLE + "{model} NULL NULL\n", "no atom type has an element"),
    "no other style": ("pair", STYLE + "{model} Al NULL\n", "coeffs are not set"),
    "missing": ("pair", STYLE + "nothing.eqt Al Cu\n", "nothing.eqt: there is no such model file"),
    "another format": ("pair", STYLE + "atoms.data Al Cu\n", "atoms.data: is not a model file"),
    "architecture": ("pair", STYLE + "{dimenet} Al Cu\n", 'is of architecture "dimenet'),
    "precision": ("pair", "pair_style equitensor double\n", "pair_style equitensor double: say float32"),
    "two styles": ("pair", TWO, "another style has this pair: use hybrid/overlay"),
    "units": ("units", "lj", "needs units metal or real, not lj"),
    "on one rank": ("lines", "set atom 7 x 0.1 y 0.1 z 0.1\nset atom 8 x 0.1 y 0.1 z 0.1\n", "in the same place"),
    "newton": ("first", "newton off\n", "needs newton on"),
    "heat": ("lines", HEAT, "heat/flux is not right"),
    "centroid": ("lines", "compute s all centroid/stress/atom NULL virial\ndump 1 all custom 1 d c_s[1]\n", "centroid"),
    "tally": ("lines", "compute t all pe/tally all\nthermo_style custom step c_t\n", "no energies of pairs"),
    "exclusion": ("lines", "neigh_modify exclude type 1 2\n", "remove neigh_modify exclude type 1 2"),
    "group exclusion": ("lines", "neigh_modify exclude group all all\n", "remove neigh_modify exclude or include"),
}


@pytest.fixture
def run(lammps, potential, tmp_path):
    return runner(potential, tmp_path)


@pytest.fixture(scope="session")
def dimenet(tmp_path_factory):
    """The file of a model that only torch evaluates."""
    path = tmp_path_factory.mktemp("dimenet") / "model.eqt"
    settings = {"architecture": "dimenet++", "cutoff": 4.0, "channels": 8}
    models.save(models.build(settings, elements=(13, 29), e0s={13: 0.0, 29: 0.0}), path)
    return path


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_lammps(run, dimenet, name):
    """On two ranks, and none of them waits for the other."""
    option, text, message = ERRORS[name]
    with pytest.raises(InputError, match=message) as caught:
        run(**{"lines": "", option: text.replace("{dimenet}", str(dimenet)), "ending": "run 0\n"})
    assert str(caught.value).startswith("LAMMPS: ERROR")


@pytest.fixture
def without_its_dispersion(potential, lacking_d3):
    return lacking_d3(potential)


def test_a_model_that_lacks_its_dispersion(lammps, run, potential, without_its_dispersion):
    """It is refused alone, taken beside dispersion/d3 or where that is said, and the input that we write has both."""
    rest = without_its_dispersion
    alone = f"pair_style equitensor float64\npair_coeff * * {rest} Al Cu\n"
    with pytest.raises(InputError, match=r"learned labels without their dispersion \(D3 of pbe-bj\).*hybrid/overlay"):
        run(ENERGY, pair=alone)
    told = alone.replace("float64", "float64 without_d3")
    bare = parsed(run(ENERGY + "write_restart there\n", pair=told))
    np.testing.assert_array_equal(bare, parsed(run(ENERGY)))
    coefficients = f"pair_coeff * * {rest} Al Cu\n"
    np.testing.assert_array_equal(parsed(run("clear\nread_restart there\n" + coefficients + ENERGY)), bare)
    box = inputs.box(alloy((3, 3, 3)))
    script = inputs.setup(box, "atoms.data", rest, "float64")
    pair = script[script.index("pair_style hybrid") :].replace("31.75 21.17", "9.0 6.0")
    dispersion = "pair_style dispersion/d3 bj pbe 9.0 6.0\npair_coeff * * Al Cu\n"
    both = parsed(run(ENERGY, pair=pair))
    np.testing.assert_allclose(both, bare + parsed(run(ENERGY, pair=dispersion)), rtol=1e-12)


def test_a_damping_that_hybrid_styles_lack(potential, lacking_d3):
    rest = lacking_d3(potential, "pbe-zero")
    with pytest.raises(InputError, match=r"d3 pbe-zero.*the damping zero.*use ASE"):
        inputs.setup(inputs.box(alloy((2, 2, 2))), "atoms.data", rest)


def test_the_check_of_a_model_that_lacks_its_dispersion(lammps, d3_stand_in, without_its_dispersion):
    lines = check(without_its_dispersion, alloy((2, 2, 2)), ranks=(1,))
    assert len(lines) == 3 and all(line.passed for line in lines), lines


def test_the_dispersion_of_lammps(lammps, without_its_dispersion):
    """The input that is written gives the calculator's numbers, to what differs between the two programs' constants."""
    pytest.importorskip("dftd3")
    atoms = alloy((2, 2, 2))
    expected, values = of_calculator(without_its_dispersion, atoms), of_lammps(without_its_dispersion, atoms, both=True)
    assert values.energy == pytest.approx(expected.energy, abs=1e-4 * len(atoms))
    np.testing.assert_allclose(values.forces, expected.forces, atol=1e-4)
    np.testing.assert_allclose(values.stress, expected.stress, atol=1e-5)

"""Error bars by the compiled evaluator: those of ErrorBars in numpy, in both precisions, of parts and of nothing."""

import json
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from evaluator_cases import random_error_bars, random_potential, structures
from safetensors import safe_open
from safetensors.numpy import save

from equitensor import Calculator, models
from equitensor.errors import InputError
from equitensor.graph import neighbor_list
from equitensor.interfaces.evaluator import Model, System, instruction_sets
from equitensor.interfaces.evaluator_library import why_not
from equitensor.models import write_error_bars

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

NAMES = ("forces_std", "novelty", "sums")
TEN = (1, 3, 6, 8, 13, 22, 29, 47, 79, 92)
CASES = {  # elements, whether sums are by element, settings
    "padded": ((1, 6, 13), True, {"layers": 3, "channels": 7, "edge_channels": 3}),
    "one round": ((1, 6, 13), False, {"layers": 1, "channels": 9}),
    "as by default": ((1, 6), True, {"channels": 32, "edge_channels": 32, "lmax": 3}),
    "many elements": (TEN, False, {}),
    "one element": ((13,), True, {"channels": 1, "edge_channels": 1}),
}


def made(path, elements, by_element, settings) -> Model:
    potential = random_potential(elements, **settings)
    models.save(potential, path)
    bars = random_error_bars(elements, Model(path).num_features, by_element and len(elements) > 1)
    write_error_bars(path, bars)
    return Model(path)


@pytest.fixture(scope="module", params=CASES)
def model(request, tmp_path_factory):
    return made(tmp_path_factory.mktemp("bars") / "model.eqt", *CASES[request.param])


@pytest.fixture(scope="module")
def padded(tmp_path_factory):
    return made(tmp_path_factory.mktemp("bars") / "model.eqt", *CASES["padded"])


def started(model, atoms, precision="float64", threads=1, instructions=None):
    """A system, and the shifts of its neighbours."""
    (sender, receiver), shift, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, model.cutoff)
    start = np.concatenate([[0], np.cumsum(np.bincount(receiver, minlength=len(atoms)))])
    system = System(model, precision, threads, instructions)
    system.set_neighbors(atoms.numbers, start, sender)
    return system, shift @ atoms.cell.array


def evaluated(model, atoms, *how, **wanted):
    system, shift = started(model, atoms, *how)
    return system.evaluate(atoms.positions, shift, **{"error_bars": True} | wanted)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_they_are_those_of_numpy(model, precision):
    for name, atoms in structures(model.elements).items():
        for numbers in (atoms.numbers, np.full(len(atoms), model.elements[0])):
            atoms.numbers = numbers
            result = evaluated(model, atoms, precision, features=True)
            expected = model.error_bars.of(atoms.numbers.astype(np.int64), result.features)
            assert model.energy_std(result.sums) == pytest.approx(expected["energy_std"], rel=1e-9), name
            for each in ("forces_std", "novelty"):
                np.testing.assert_allclose(getattr(result, each), expected[each], rtol=1e-9, err_msg=name)
            alone = evaluated(model, atoms, precision)
            assert alone.features is None
            for each in NAMES:
                np.testing.assert_array_equal(getattr(alone, each), getattr(result, each))


def test_threads_change_no_bit_and_instructions_little(padded):
    atoms = structures()["skewed"] * (3, 3, 3)
    atoms = atoms[:-5]  # the last block is a part of one
    one = evaluated(padded, atoms)
    for threads, instructions in product((2, 3), instruction_sets()):
        other = evaluated(padded, atoms, "float64", threads, instructions)
        for name in NAMES:
            np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-10)
            if instructions == instruction_sets()[0]:
                np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


def test_sums_of_parts_add_up(padded):
    near = structures()["molecule"]
    far = structures()["wire"]
    far.pbc, far.cell = False, None
    far.positions += 50
    both, parts = evaluated(padded, near + far), [evaluated(padded, each) for each in (near, far)]
    sums = parts[0].sums + parts[1].sums
    assert padded.energy_std(sums) == pytest.approx(padded.energy_std(both.sums), rel=1e-10)
    assert padded.energy_std(both.sums) != pytest.approx(sum(padded.energy_std(each.sums) for each in parts), rel=1e-3)
    np.testing.assert_allclose(both.novelty, np.concatenate([each.novelty for each in parts]), rtol=1e-10)
    with pytest.raises(InputError, match=r"sums is \(3,\): give"):
        padded.energy_std(np.zeros(3))


def test_of_no_atoms_and_of_atoms_that_take_no_part(padded):
    nothing = evaluated(padded, Atoms())
    assert padded.energy_std(nothing.sums) == 0 and nothing.novelty.shape == nothing.forces_std.shape == (0,)
    atoms = structures()["molecule"]
    kept = evaluated(padded, atoms)
    more = atoms + structures()["two far"]
    more.numbers[-2:] = 0
    result = evaluated(padded, more)
    assert not result.novelty[-2:].any() and not result.forces_std[-2:].any()
    for name in NAMES:
        np.testing.assert_allclose(getattr(result, name)[: len(getattr(kept, name))], getattr(kept, name), rtol=1e-10)


def test_without_error_bars_there_are_none(padded, tmp_path):
    atoms = structures()["molecule"]
    off = evaluated(padded, atoms, error_bars=False)
    assert all(getattr(off, name) is None for name in (*NAMES, "features"))
    models.save(random_potential(), tmp_path / "bare.eqt")
    bare = Model(tmp_path / "bare.eqt")
    assert bare.num_sums == 0 and np.isnan(bare.energy_std(np.zeros(0)))
    system, shift = started(bare, atoms)
    with pytest.raises(InputError, match="the model has no error bars: equitensor uncertainty MODEL TRAIN"):
        system.evaluate(atoms.positions, shift, error_bars=True)
    assert np.isfinite(system.evaluate(atoms.positions, shift).energy)


def test_an_unknown_element_is_named(padded):
    atoms = structures()["molecule"]
    atoms.symbols[1] = "Xe"
    with pytest.raises(InputError, match="does not know the element 54 of atom 1"):
        evaluated(padded, atoms)


@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-9), ("float32", 1e-4)])
def test_the_calculator_gives_those_of_torch(padded, precision, tolerance):
    for atoms in structures().values():
        results = []
        for backend, dtype in (("core", precision), ("torch", "float64")):
            calc = Calculator(padded.name, device="cpu", backend=backend, dtype=dtype)
            calc.calculate(atoms)
            results.append(calc.results)
        for name in ("energy_std", "forces_std", "novelty"):
            np.testing.assert_allclose(results[0][name], results[1][name], rtol=tolerance)


def parts(path):
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["equitensor"])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("error_bars.means"), r'no tensor "error_bars\.means"'),
        (lambda t: t.update({"error_bars.energy": np.eye(5)}), r"error bars are of 5 sums.*--remove"),
        (lambda t: t.update({"error_bars.forces": np.eye(5)}), r'"error_bars\.forces" has shape \(5, 5\)'),
        (lambda t: t.update({"error_bars.novelty_scale": np.full(3, np.nan)}), r"novelty_scale.*not finite"),
        (lambda t: t.update({"error_bars.forces_scale": np.full(3, np.inf)}), r"forces_scale.*not finite"),
    ],
)
def test_damaged_ones_are_refused(padded, change, message):
    header, tensors = parts(padded.name)
    change(tensors)
    with pytest.raises(InputError, match=message):
        Model(save(tensors, metadata={"equitensor": json.dumps(header)}))

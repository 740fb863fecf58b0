"""What the compiled evaluator is given: copies of a model, structures and model files that it refuses."""

import copy
import json
import os
import pickle

import numpy as np
import pytest
from evaluator_cases import mutated, structures
from evaluator_runs import DEEP, evaluated, listed, opened
from safetensors import safe_open
from safetensors.numpy import save

from equitensor.errors import InputError
from equitensor.interfaces.evaluator import Model, System
from equitensor.interfaces.evaluator_library import why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module", params=DEEP, ids=str)
def model(request, tmp_path_factory):
    return opened(tmp_path_factory.mktemp("evaluator"), **request.param)


def test_copies_and_pickles_evaluate_the_same(model):
    atoms = structures()["slab"]
    expected = evaluated(model, atoms)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(evaluated(twin, atoms).forces, expected.forces)


def test_what_a_structure_cannot_be(model):
    atoms = structures()["molecule"]
    start, sender, _ = listed(model, atoms)
    system = System(model)
    with pytest.raises(InputError, match="no neighbours yet"):
        system.evaluate(atoms.positions)
    with pytest.raises(InputError, match=r"does not know the element 2 of atom 1"):
        system.set_neighbors([1, 2, *atoms.numbers[2:]], start, sender)
    with pytest.raises(InputError, match="no neighbours yet"):
        system.evaluate(atoms.positions)
    with pytest.raises(InputError, match="an edge comes from atom 99, which does not exist"):
        system.set_neighbors(atoms.numbers, start, [99, *sender[1:]])
    with pytest.raises(InputError, match="end before they start"):
        system.set_neighbors(atoms.numbers, [0, len(sender), *start[2:]], sender)
    with pytest.raises(InputError, match="give"):
        system.set_neighbors(atoms.numbers, start, sender[:-1])
    system.set_neighbors(atoms.numbers, start, sender)
    with pytest.raises(InputError, match=r"pos is \(3, 3\): give \(9, 3\)"):
        system.evaluate(atoms.positions[:3])
    positions = atoms.positions.copy()
    positions[4, 1] = np.nan
    with pytest.raises(InputError, match="the position of atom 4 is not finite"):
        system.evaluate(positions)
    positions[4] = positions[0]
    with pytest.raises(InputError, match=r"atom [04] and a neighbour of it are in the same place"):
        system.evaluate(positions)
    assert np.isfinite(system.evaluate(atoms.positions).energy)
    with pytest.raises(InputError, match="threads is 0"):
        System(model, threads=0)


def parts(path):
    """The header and the tensors of a model file."""
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["equitensor"])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def packed(header, tensors) -> bytes:
    return save(tensors, metadata={"equitensor": json.dumps(header)})


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda h, t: h["settings"].update(architecture="dimenet++"), r'architecture "dimenet\+\+".*torch backend'),
        (lambda h, t: h["settings"].update(colour=3), r'setting "colour" that this does not know: upgrade'),
        (lambda h, t: h.update(format=2), r"format 2, before evaluation without torch: load and save it"),
        (lambda h, t: h.update(format=5), r"format 5, this reads up to 4: upgrade"),
        (lambda h, t: h.update(harmonics="other"), r'harmonics convention "other"'),
        (lambda h, t: h.update(cutoff=-1.0), r"cutoff is -1"),
        (lambda h, t: h.update(elements=[]), r"knows no element"),
        (lambda h, t: h.update(elements=[6, 1, 13]), r"rising order"),
        (lambda h, t: h.update(elements=[1e300]), r"not atomic numbers"),
        (lambda h, t: h["settings"].update(zbl="true"), r'"zbl" is of another kind'),
        (lambda h, t: h["settings"].update(normalized=1), r'"normalized" is of another kind'),
        (lambda h, t: h["settings"].update(repulsion=1), r'"repulsion" is of another kind'),
        (
            lambda h, t: (h["settings"].update(repulsion=True), t.pop("repulsion.begins", None)),
            r'has no tensor "repulsion.begins"',
        ),
        (lambda h, t: h["settings"].update(layers=16, gathered=8192), r"has \d+ radial functions.* torch backend"),
        (lambda h, t: h["settings"].update(channels=9), r"has shape .* its settings ask for"),
        (lambda h, t: t.pop("backbone.head"), r'no tensor "backbone\.head"'),
        (lambda h, t: t.update({"backbone.head": np.full_like(t["backbone.head"], np.nan)}), r"not finite"),
        (lambda h, t: t.update({"backbone.head": t["backbone.head"].astype(np.int32)}), r"not of floating point"),
        (lambda h, t: t.update({"coupling.index": t["coupling.index"] + 90}), r"names a component that does not exist"),
        (lambda h, t: t.pop("coupling.index"), r'no tensor "coupling\.index"'),
    ],
)
def test_model_files_that_it_refuses(model, tmp_path, change, message):
    (tmp_path / "model.eqt").write_bytes(model._bytes)
    header, tensors = parts(tmp_path / "model.eqt")
    change(header, tensors)
    with pytest.raises(InputError, match=message):
        Model(packed(header, tensors))


@pytest.mark.parametrize("size", [0, 7, 8, 100, 4000, -1])
def test_a_file_that_is_cut_short(model, tmp_path, size):
    path = tmp_path / "cut.eqt"
    path.write_bytes(model._bytes[:size])
    with pytest.raises(InputError, match=r"cut\.eqt"):
        Model(path)
    with pytest.raises(InputError, match=r"absent\.eqt: there is no such model file"):
        Model(tmp_path / "absent.eqt")


def test_damaged_files_are_refused_or_evaluated(model):
    """An InputError or numbers, never a crash; `.ci/sanitize` tries ten thousand under sanitizers, in C++."""
    count = int(os.environ.get("EQUITENSOR_MUTATIONS", "300"))
    atoms, rng, refused = structures()["molecule"], np.random.default_rng(0), 0
    for _ in range(count):
        try:
            evaluated(Model(mutated(model._bytes, rng)), atoms)
        except InputError:
            refused += 1
    assert count / 3 < refused < count

"""datasets/organics: what its checks go by, and the section of the page that is made of their results."""

import hashlib
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.morse import MorsePotential
from scipy.spatial.transform import Rotation

from equitensor.interfaces.committee import digest_of
from equitensor.interfaces.evaluator_library import why_not

ROOT = Path(__file__).resolve().parents[2]
needs_core = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def script(monkeypatch):
    """script(name) -> a module of the folder; RDKit and tblite, which may not be installed, stand aside."""
    monkeypatch.syspath_prepend(str(ROOT / "datasets" / "organics"))
    for name in ("geometries", "xtb"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    return importlib.import_module


def test_bonds_are_those_of_the_molecule_and_break_when_they_are_long(script):
    shapes, ethanol = script("shapes"), molecule("CH3CH2OH")
    pairs = shapes.bonds(ethanol)
    elements = sorted("".join(sorted(ethanol.symbols[pair])) for pair in pairs)
    assert elements == ["CC", "CH", "CH", "CH", "CH", "CH", "CO", "HO"]
    assert not shapes.broken(pairs, ethanol.numbers, 1.3 * ethanol.positions).any()
    assert shapes.broken(pairs, ethanol.numbers, 1.6 * ethanol.positions).all()


def test_rmsd_is_of_the_shape_alone(script):
    rmsd, rng = script("shapes").rmsd, np.random.default_rng(0)
    one = rng.normal(size=(7, 3))
    turned = Rotation.from_rotvec([0.3, -1.0, 2.0]).apply(one) + np.array([1.0, 2.0, 3.0])
    assert rmsd(one, turned) < 1e-10
    assert rmsd(one, -one) > 0.1  # the mirror image is another molecule
    longer = np.array([[0.0, 0, 0], [0, 0, 1.0]]), np.array([[0.0, 0, 0], [0, 0, 1.2]])
    assert rmsd(*longer) == pytest.approx(0.1)


def moving(name: str, atom: int = 0, velocity: float = 0.0) -> Atoms:
    """A molecule, with one atom moving towards positive z."""
    atoms = molecule(name)
    velocities = np.zeros((len(atoms), 3))
    velocities[atom, 2] = velocity
    atoms.set_velocities(velocities)
    return atoms


def watched(script, molecules: list[Atoms], steps: int, friction: float = 0.0):
    """The watch, and the meter of energies, after so many steps of 0.5 fs."""
    system = script("dynamics").Molecules("organics", molecules)
    watch = script("watch").Watch(system, [script("shapes").bonds(atoms) for atoms in molecules])
    meter, conditions = script("meters").EnergyMeter(system), script("dynamics").Conditions(300.0, 0.5, friction)
    script("watch").run(watch, conditions, steps, np.random.default_rng(0), meter.read)
    return watch, meter


@needs_core
def test_molecules_keep_their_energy_and_each_moves_by_itself(script):
    watch, meter = watched(script, [moving("H2O", 1, 0.1), moving("CH3OH", 2, 0.1)], 40)
    assert watch.breaks == [] and watch.flown == {}
    spread = [np.ptp(meter.readings[number]) for number in (0, 1)]
    assert max(spread) < 2e-3  # eV an atom, beside some 0.1 that go to and fro
    alone, _ = watched(script, [moving("CH3OH", 2, 0.1)], 40)
    both = watch.system.molecule(1)
    np.testing.assert_allclose(both.positions, alone.system.pos, atol=1e-5)


@needs_core
def test_a_broken_bond_is_counted_once_and_what_flies_apart_is_taken_out(script):
    molecules = [moving("H2O"), moving("CH3OH", 2, 9.0)]
    system = script("dynamics").Molecules("organics", molecules)
    watch = script("watch").Watch(system, [script("shapes").bonds(atoms) for atoms in molecules])
    far = np.zeros_like(molecules[0].positions)
    far[1] = molecules[0].positions[1] - molecules[0].positions[0]

    def step(conditions, rng):  # nothing moves but, at step 15, one hydrogen of water
        if watch.step == 15:
            system.pos = system.pos + far

    system.step = step
    script("watch").run(watch, script("dynamics").Conditions(300.0, 0.5), 40, None, lambda: None)
    assert watch.flown == {1: 1} and system.left == [0] and len(system.z) == 3
    assert [(event.molecule, event.step, event.pair) for event in watch.breaks] == [(0, 20, (0, 1))]
    before, now = (atoms.get_distance(0, 1) for atoms in (watch.breaks[0].before, watch.breaks[0].now))
    assert watch.breaks[0].length == now == pytest.approx(2 * before)


@pytest.mark.parametrize(("depth", "verdict"), [(5.0, "kept"), (1e-4, "broken too")])
def test_the_verdict_on_a_broken_bond_is_that_of_the_reference(script, depth, verdict):
    before = Atoms("C2", [[0, 0, 0], [0, 0, 1.5]])
    before.set_velocities([[0, 0, -0.2], [0, 0, 0.2]])
    event = script("watch").Break(0, 1, (0, 1), 2.4, before, Atoms("C2", [[0, 0, 0], [0, 0, 2.4]]))
    calc = MorsePotential(epsilon=depth, r0=1.5, rho0=3.0)
    judged = script("judgement").judged(event, calc, script("dynamics").Conditions(300.0, 1.0, 10.0), 0.2)
    assert judged["verdict"] == verdict


def test_a_drift_is_the_gradient_of_the_energy(script):
    meter = script("meters").EnergyMeter(SimpleNamespace(left=[0]))
    meter.readings[0] = [-5.0 + 2e-6 * step for step in range(100)]  # eV an atom, 2e-6 of them in a step of 0.5 fs
    assert meter.drifts(0.5)[0] == pytest.approx(4.0)


def test_results_go_on_where_they_were_and_are_of_one_model(script, tmp_path):
    results, path = script("results"), tmp_path / "deep" / "results.json"
    first = results.Results(path, {"model": "a"}, lambda pieces: {"all": {"count": len(pieces)}})
    first.add("one", {"value": 1})
    again = results.Results(path, {"model": "a"}, first.summary)
    again.add("other", {"value": 2})
    content = json.loads(path.read_text())
    assert content["pieces"] == {"one": {"value": 1}, "other": {"value": 2}} and content["summary"]["all"]["count"] == 2
    with pytest.raises(SystemExit, match="begun with model a, now b: say --again"):
        results.Results(path, {"model": "b"}, first.summary)
    assert results.Results(path, {"model": "b"}, first.summary, again=True).pieces == {}


def test_unseen_molecules_are_those_of_the_part_in_an_order_of_their_own(script, tmp_path):
    lines = ["test,CO,6", "train,C,5", "test,CC,8", "test,O,3"]
    orders = []
    for rows in (lines, lines[::-1]):
        (tmp_path / "molecules.csv").write_text("\n".join(["part,smiles,atoms", *rows]) + "\n")
        orders.append(script("unseen").unseen(tmp_path))
    assert orders[0] == orders[1] and sorted(row["smiles"] for row in orders[0]) == ["CC", "CO", "O"]


def test_the_first_unseen_molecules_are_not_those_with_the_lowest_hash(script, tmp_path):
    """prepare.py takes molecules without rings for `test` where the hash of their SMILES is low."""
    smiles = ["C" * length for length in range(1, 200)]
    low = sorted(smiles, key=lambda text: hashlib.sha256(text.encode()).digest())[:20]
    rows = [f"test,{text},1" for text in smiles]
    (tmp_path / "molecules.csv").write_text("\n".join(["part,smiles,atoms", *rows]) + "\n")
    first = [row["smiles"] for row in script("unseen").unseen(tmp_path)[:100]]
    assert 5 < len(set(low) & set(first)) < 15  # half of them, as of all


@needs_core
def test_a_batch_gives_a_row_for_each_molecule(script):
    check, dynamics = script("check_dynamics"), script("dynamics")
    rows = [{"smiles": "O", "atoms": 3}, {"smiles": "CO", "atoms": 6}]
    starts = [molecule("H2O"), molecule("CH3OH")]
    task = check.Task(
        "300 K, batch 0", "organics", rows, starts, dynamics.Conditions(300.0, 0.5, 10.0), 0.02, 0.02, 0.1, 0
    )
    name, piece = check.measure(task)
    values = check.summary({name: piece})["300 K"]
    assert (values["molecules"], values["flown apart"], values["with a broken bond"]) == (2, 0, 0)
    assert values["atoms"] == "3 to 6" and values["NVE drift, largest (meV/atom/ps)"] > 0
    piece["molecules"][1]["bonds"].append({"verdict": "kept"})
    assert check.summary({name: piece})["300 K"]["of these kept by GFN2-xTB"] == 1


@pytest.fixture
def section(monkeypatch, tmp_path):
    """section(model) -> the text, of results that were measured with the model of this digest."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    checks = importlib.import_module("organics_checks")
    monkeypatch.setattr(checks, "RESULTS", tmp_path)
    facts = {"of_reference": {"tblite": "0.8.0"}, "versions": {"torch": "2"}, "machine": {"cpu": "CPU"}, "date": "2026"}
    summary = {"300 K": {"molecules": 100, "drift": 0.03}, "500 K": {"molecules": 100, "drift": None}}

    def write(model: str) -> str:
        about = {"model": model, "picoseconds": 100.0, "nve": 10.0, "timestep": 1.0}
        content = {"environment": {"dtype": "float32", **facts}, "about": about, "summary": summary}
        (tmp_path / "dynamics.json").write_text(json.dumps(content))
        return checks.section()

    return write


def test_the_page_shows_results_of_the_model_that_is_shipped(section):
    text = section(digest_of("organics"))
    assert "| drift | 0.03 |  |" in text and "100 ps" in text and "tblite 0.8.0" in text


def test_the_page_does_not_show_results_of_another_model(section):
    assert section("another") == "There are no results for the model file of this version yet."

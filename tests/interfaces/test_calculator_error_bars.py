"""Error bars in the calculator: the same by the evaluator and by torch, whatever turns, and absent without them."""

import copy

import numpy as np
import pytest
from evaluator_cases import mutated, random_potential, structures

from equitensor import Calculator, models
from equitensor.data import Memory
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.backend import open_engine
from equitensor.interfaces.evaluator import Model, System
from equitensor.interfaces.extrapolation import ExtrapolationError, ExtrapolationWatch
from equitensor.models import write_error_bars
from equitensor.training.evaluation import evaluate
from equitensor.training.uncertainty import fit_error_bars

NAMES = ("energy_std", "forces_std", "novelty")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("bars") / "model.eqt"
    models.save(random_potential(), path)
    rng, train = np.random.default_rng(0), []
    for _ in range(10):
        for atoms in structures().values():
            atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
            train.append(Structure.from_ase(atoms))
    engine, _ = open_engine(path, "cpu", "float64", skin=0.0, backend="torch")
    write_error_bars(path, fit_error_bars(engine, Memory(train)))
    return path


def results(path, atoms, backend="torch") -> dict:
    calc = Calculator(path, device="cpu", dtype="float64", backend=backend)
    calc.calculate(atoms)
    return calc.results


def agree(one: dict, other: dict, order=slice(None)) -> bool:
    return all(np.allclose(np.asarray(one[n])[order if np.ndim(one[n]) else ()], other[n], rtol=1e-8) for n in NAMES)


@pytest.mark.parametrize("name", structures())
def test_the_evaluator_and_torch_agree(path, name):
    atoms = structures()[name]
    by_torch, by_core = results(path, atoms), results(path, atoms, "core")
    assert by_torch["forces_std"].shape == by_torch["novelty"].shape == (len(atoms),)
    assert isinstance(by_torch["energy_std"], float) and agree(by_torch, by_core)


def unmoved(compute, atoms) -> bool:
    turned, moved = atoms.copy(), atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turned.positions, cell = -turned.positions, -turned.cell.array
    turned.set_cell(cell)
    moved.positions += [0.3, 7, -2]
    return all(agree(compute(atoms), compute(each)) for each in (turned, moved))


def of_positions(path, atoms) -> dict:
    """A twin that knows where it is."""
    bars = results(path, atoms)
    return bars | {"novelty": bars["novelty"] * np.exp(1e-3 * atoms.positions[:, 0])}


@pytest.mark.parametrize("name", ["molecule", "skewed"])
def test_no_rotation_reflection_or_translation_changes_them(path, name):
    atoms = structures()[name]
    assert unmoved(lambda each: results(path, each), atoms)
    assert not unmoved(lambda each: of_positions(path, each), atoms)


def test_they_follow_a_permutation(path):
    atoms = structures()["molecule"]
    order = np.random.default_rng(0).permutation(len(atoms))
    assert agree(results(path, atoms), results(path, atoms[order]), order)
    assert not agree(results(path, atoms), results(path, atoms[order]))


def test_a_strange_structure_is_novel(path):
    atoms = structures()["molecule"]
    usual = results(path, atoms)["novelty"].max()
    atoms.positions[0] = atoms.positions[1] + [0.5, 0.1, 0]
    assert results(path, atoms)["novelty"].max() > 3 * usual


def test_a_potential_object_and_a_copy_of_a_calculator_keep_them(path):
    atoms = structures()["wire"]
    expected = results(path, atoms)
    for backend in ("torch", "core"):
        assert agree(results(models.load(path), atoms, backend), expected)
    calc = copy.deepcopy(Calculator(path, device="cpu", dtype="float64", backend="core"))
    atoms.calc = calc
    assert agree({name: calc.get_property(name, atoms) for name in NAMES}, expected)


@pytest.mark.parametrize("backend", ["torch", "core"])
def test_without_them_nothing_of_them_is_computed(backend, tmp_path, monkeypatch):
    models.save(random_potential(), tmp_path / "bare.eqt")
    asked = []

    def noted(original):
        def compute(*arguments, **options):
            asked.append(bool(options.get("features") or options.get("error_bars")))
            return original(*arguments, **options)

        return compute

    for kind, name in ((models.Potential, "forward"), (System, "evaluate")):
        monkeypatch.setattr(kind, name, noted(getattr(kind, name)))
    without = results(tmp_path / "bare.eqt", structures()["molecule"], backend)
    assert not set(NAMES) & set(without) and asked == [False]
    assert Model(tmp_path / "bare.eqt").error_bars is None
    calc = Calculator(tmp_path / "bare.eqt", device="cpu")
    assert not set(NAMES) & set(calc.implemented_properties) and calc.error_bars is None


@pytest.mark.parametrize("backend", ["torch", "core"])
def test_they_can_be_left_out(path, backend):
    calc = Calculator(path, device="cpu", backend=backend, error_bars=False)
    calc.calculate(structures()["molecule"])
    assert not set(NAMES) & {*calc.results, *calc.implemented_properties} and calc.error_bars is None


def test_damaged_files_are_refused_or_read(path, tmp_path):
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        (tmp_path / "damaged.eqt").write_bytes(mutated(whole, rng))
        for read in (Model, models.load):
            try:
                read(tmp_path / "damaged.eqt")
            except InputError:
                refused += 1
    assert 30 < refused < 300


def test_evaluation_reports_the_same_calibration_by_both(path):
    rng, frames = np.random.default_rng(2), []
    for atoms in structures().values():
        frames.append(Structure.from_ase(atoms, energy=float(rng.normal()), forces=rng.normal(size=(len(atoms), 3))))
    reports = []
    for backend in ("torch", "core"):
        engine, _ = open_engine(path, "cpu", "float64", skin=0.0, backend=backend)
        evaluation = evaluate(engine.model if backend == "torch" else engine, Memory(frames), batch_size=3)
        reports.append(evaluation.plain()["error_bars"])
    assert reports[0].keys() == {"energy", "forces", "novelty"}
    for name, each in reports[0].items():
        assert each == pytest.approx(reports[1][name], rel=1e-6)


class _Fixed:
    """A calculator whose novelty is given; forces_std is a tenth of it."""

    def __init__(self, values):
        self.results = {"novelty": np.array(values), "forces_std": np.array(values) / 10}


def test_a_watch_warns_once_stops_or_dumps(tmp_path):
    from ase import Atoms, io

    atoms, said = Atoms("OH2", np.eye(3)), []

    def watched(action, limits={"novelty": 1.5}, **options):  # noqa: B006
        watch = ExtrapolationWatch(atoms, limits, action, say=said.append, **options)
        for step, high in enumerate([1.0, 1.6, 2.0, 1.2, 1.7]):
            atoms.calc = _Fixed([0.1, high, 0.2])
            watch.check(step)
        return watch.summary()

    assert watched("warn") == "novelty above 1.5 in 3 of 5 steps, the largest 2.00 (step 2)"
    assert said == ["step 1: atom 1 (H) has novelty 1.60, above 1.5: what follows is an extrapolation"]
    with pytest.raises(ExtrapolationError, match=r"step 1: atom 1 \(H\) has novelty 1\.60"):
        watched("stop")
    assert "2 frames in" in watched("dump", out=tmp_path / "novel.extxyz", interval=2)
    frames = io.read(tmp_path / "novel.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [1, 4]
    assert frames[1].arrays["novelty"][1] == pytest.approx(1.7)
    said.clear()
    both = watched("warn", {"novelty": 1.9, "forces_std": 0.165}).splitlines()
    assert both[0] == "novelty above 1.9 in 1 of 5 steps, the largest 2.00 (step 2)"
    assert both[1] == "forces_std above 0.165 in 2 of 5 steps, the largest 0.200 eV/Angstrom (step 2)"
    assert [text.split(",")[0] for text in said] == [
        "step 2: atom 1 (H) has novelty 2.00",
        "step 2: atom 1 (H) has forces_std 0.200 eV/Angstrom",
    ]
    with pytest.raises(ExtrapolationError, match=r"step 1: atom 1 \(H\) has forces_std 0\.160"):
        watched("stop", {"novelty": 9, "forces_std": 0.15})
    for name, limit, action in (
        ("novelty", 0.0, "warn"),
        ("forces_std", float("nan"), "warn"),
        ("novelty", 1, "shout"),
    ):
        with pytest.raises(InputError, match=r"above 0|shout"):
            ExtrapolationWatch(atoms, {name: limit}, action)

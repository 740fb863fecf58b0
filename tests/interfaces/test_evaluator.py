"""The compiled evaluator against torch, and its own promises: threads, ghosts, exchanges."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from evaluator_cases import PRODUCTS, random_potential, structures
from evaluator_runs import DEEP, evaluated, listed, opened

from equitensor import models
from equitensor.errors import InputError
from equitensor.interfaces import Calculator
from equitensor.interfaces.evaluator import System, instruction_sets
from equitensor.interfaces.evaluator_library import why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

CASES = [
    *({"product": product, "correlation": nu} for product in PRODUCTS for nu in (1, 2, 3, 4)),
    *({"product": product, "lmax": lmax} for product in PRODUCTS for lmax in (0, 1, 3)),
    {"lmax": 4, "channels": 4},
    {"layers": 1},
    {"layers": 3, "channels": 7, "edge_channels": 3, "lmax": 1},
    {"layers": 4, "channels": 4, "lmax": 1, "product": "cg"},
    {"channels": 24, "edge_channels": 20, "gathered": 40, "smoothness": 2.0},
    {"channels": 1, "edge_channels": 1, "num_radial": 1},
    {"zbl": True, "cutoff": 3.5},
    *(
        {"normalized": True, "layers": layers, "product": product, "repulsion": layers > 1}
        for layers, product in zip((1, 2, 3), PRODUCTS, strict=True)
    ),
    {"repulsion": True, "layers": 1},
    {"elements": (13,)},
    {"elements": (1, 3, 6, 8, 13, 22, 29, 47, 79, 92), "zbl": True, "normalized": True},
]


def compared(path, atoms, **options):
    """Results of the core and of torch, in float64 unless `options` say otherwise."""
    differences = []
    for backend in ("core", "torch"):
        calc = Calculator(path, device="cpu", backend=backend, **{"dtype": "float64"} | options)
        calc.calculate(atoms)
        differences.append(calc.results | {"features": calc.descriptors(atoms)})
    return differences


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_it_computes_what_torch_computes(settings, tmp_path):
    settings = dict(settings)
    elements = settings.pop("elements", (1, 6, 13))
    models.save(random_potential(elements, **settings), tmp_path / "model.eqt")
    for name, atoms in structures(elements).items():
        core, torch = compared(tmp_path / "model.eqt", atoms)
        assert set(core) == set(torch)
        assert core["energy"] == pytest.approx(core["energies"].sum(), rel=1e-13)
        for quantity, expected in torch.items():
            scale = max(np.abs(expected).max(), 1e-3)
            np.testing.assert_allclose(
                core[quantity], expected, rtol=0, atol=1e-10 * scale, err_msg=f"{name} {quantity}"
            )


def test_a_trained_model_in_both_precisions(trained_file, alanine_data):
    import ase.io

    for atoms in ase.io.read(alanine_data / "test_hot.xyz", ":40:10"):
        atoms.set_cell([8, 7, 6])
        atoms.pbc = True
        core, torch = compared(trained_file, atoms)
        single, torch_single = compared(trained_file, atoms, dtype="float32")
        for name in ("energy", "energies", "forces", "stress", "features"):
            np.testing.assert_allclose(core[name], torch[name], rtol=1e-10, atol=1e-10)
        rms = np.sqrt(np.square(torch["forces"]).mean())
        error, error_of_torch = (
            np.sqrt(np.square(result["forces"] - torch["forces"]).mean()) for result in (single, torch_single)
        )
        assert rms > 0.1
        assert error < 3e-6 * rms
        assert error_of_torch < 3e-6 * rms
        assert error > 1e-9 * rms  # it is float32
        np.testing.assert_allclose(single["energies"] - core["energies"], 0, atol=2e-5)


@pytest.mark.parametrize("settings", [{"normalized": True}, {"repulsion": True}], ids=str)
def test_settings_with_splines_of_pairs(settings, tmp_path):
    models.save(random_potential(**settings), tmp_path / "model.eqt")
    for atoms in structures().values():
        core, _ = compared(tmp_path / "model.eqt", atoms, dtype="float32")
        _, torch = compared(tmp_path / "model.eqt", atoms)
        for name in torch:
            scale = max(np.abs(torch[name]).max(), 1.0)
            np.testing.assert_allclose(core[name], torch[name], rtol=0, atol=2e-5 * scale)


@pytest.fixture(scope="module", params=DEEP, ids=str)
def model(request, tmp_path_factory):
    return opened(tmp_path_factory.mktemp("evaluator"), **request.param)


NAMES = ("energy", "virial", "energies", "forces", "virials", "features")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_threads_and_pairs_beyond_the_cutoff_change_no_bit(model, precision):
    atoms = structures()["skewed"] * (3, 3, 3)
    one = evaluated(model, atoms, precision=precision)
    for options in ({"threads": 2}, {"threads": 3}, {"skin": 0.7}):
        other = evaluated(model, atoms, precision=precision, **options)
        for name in NAMES:
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=f"{name} {options}")


@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-11), ("float32", 2e-5)])
def test_every_instruction_set_gives_the_same_numbers(model, precision, tolerance):
    sets = instruction_sets()
    for kind, atoms in structures().items():
        expected = evaluated(model, atoms)
        for name in sets:
            result = evaluated(model, atoms, precision=precision, instructions=name)
            for quantity in NAMES:
                one, other = getattr(result, quantity), getattr(expected, quantity)
                error = np.abs(one - other).max() / max(1, np.abs(other).max())
                assert error < tolerance, f"{quantity} of {kind}, {name}"
    with pytest.raises(InputError, match="quantum"):
        System(model, instructions="quantum")


def test_virials_of_atoms_sum_to_the_virial(model):
    result = evaluated(model, structures()["skewed"])
    xx, yy, zz, xy, xz, yz = result.virials.sum(axis=0)
    np.testing.assert_allclose([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], result.virial, atol=1e-10)
    assert np.abs(result.virial).max() > 0.1


def test_two_threads_share_a_model(model):
    kinds = list(structures().values())
    expected = [evaluated(model, atoms) for atoms in kinds]

    def often(k):
        return [evaluated(model, kinds[k]) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for k, results in enumerate(pool.map(often, range(len(kinds)))):
            for name in NAMES:
                for one in results:
                    np.testing.assert_array_equal(getattr(one, name), getattr(expected[k], name))


def with_ghosts(atoms, cutoff):
    """(positions, owner) of the atoms and of all their images within the cutoff of any, and start and sender."""
    start, sender, shift = listed(type("", (), {"cutoff": cutoff}), atoms)
    cells = np.round(shift @ np.linalg.pinv(atoms.cell.array)).astype(int)
    owner, images, column = list(range(len(atoms))), {}, []
    for j, cell in zip(sender, map(tuple, cells), strict=True):
        if any(cell) and (j, cell) not in images:
            images[j, cell] = len(owner)
            owner.append(j)
        column.append(images.get((j, cell), j))
    moves = np.zeros((len(owner), 3))
    for (_, cell), k in images.items():
        moves[k] = -np.array(cell) @ atoms.cell.array
    return atoms.positions[owner] + moves, np.array(owner), start, np.array(column)


@pytest.mark.parametrize("kind", ["skewed", "slab", "one atom"])
@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-11), ("float32", 1e-4)])
def test_images_as_ghosts_are_images_as_shifts(model, kind, precision, tolerance):
    atoms = structures()[kind]
    expected = evaluated(model, atoms, precision=precision)
    pos, owner, start, sender = with_ghosts(atoms, model.cutoff)
    n, calls = len(atoms), []
    assert len(owner) > n

    def forward(rows):
        calls.append(("forward", rows.shape[1], rows.dtype))
        rows[n:] = rows[owner[n:]]

    def reverse(rows):
        calls.append(("reverse", rows.shape[1], rows.dtype))
        np.add.at(rows, owner[n:], rows[n:])

    system = System(model, precision)
    system.set_neighbors(atoms.numbers[owner], start, sender, owned=n)
    result = system.evaluate(pos, None, True, True, forward, reverse)
    width, dtype = calls[0][1], np.dtype(precision)
    assert calls == [(name, width, dtype) for name in ("forward", "forward", "reverse", "reverse")]  # 3 layers
    assert result.energy == pytest.approx(expected.energy, rel=tolerance)
    forces, virials = np.zeros((n, 3)), np.zeros((n, 6))
    np.add.at(forces, owner, result.forces)
    np.add.at(virials, owner, result.virials)
    for one, other in (
        (result.energies, expected.energies),
        (forces, expected.forces),
        (virials, expected.virials),
        (result.virial, expected.virial),
        (result.features, expected.features),
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max()))


def chain(model):
    """A double row of atoms, periodic along it and long: (atoms, border), those that meet images first."""
    rng = np.random.default_rng(5)
    places = 2.0 * np.indices((2, 1, 11)).reshape(3, -1).T
    pos = places + rng.uniform(-0.2, 0.2, places.shape)
    atoms = Atoms(rng.choice(model.elements, len(pos)), pos, cell=[9, 9, 22], pbc=(False, False, True))
    _, owner, start, sender = with_ghosts(atoms, model.cutoff)
    n = len(atoms)
    meets = np.isin(np.arange(n), owner[n:])
    meets |= [(sender[start[i] : start[i + 1]] >= n).any() for i in range(n)]
    assert 3 < meets.sum() < n - 3
    return atoms[np.argsort(~meets, kind="stable")], int(meets.sum())


@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-11), ("float32", 1e-4)])
@pytest.mark.parametrize("threads", [1, 3])
def test_inner_atoms_are_computed_while_the_border_is_exchanged(model, precision, tolerance, threads):
    atoms, border = chain(model)
    expected = evaluated(model, atoms, precision=precision)
    pos, owner, start, sender = with_ghosts(atoms, model.cutoff)
    n, under_way = len(atoms), []

    def forward(rows):
        sent = rows[owner[n:]].copy()
        under_way.append(lambda: rows.__setitem__(slice(n, None), sent))

    def reverse(rows):
        sent = rows[n:].copy()
        under_way.append(lambda: np.add.at(rows, owner[n:], sent))

    system = System(model, precision, threads)
    system.set_neighbors(atoms.numbers[owner], start, sender, owned=n)
    exchange = {"forward": forward, "reverse": reverse, "wait": lambda: under_way.pop()()}
    result = system.evaluate(pos, border=border, **exchange)
    assert not under_way
    assert result.energy == pytest.approx(expected.energy, rel=tolerance)
    forces = np.zeros((n, 3))
    np.add.at(forces, owner, result.forces)
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=tolerance * max(1, abs(expected.forces).max()))
    for wrong in (border - 1, n + 1):
        with pytest.raises(InputError, match=f"the border is {wrong} of {n} owned atoms"):
            system.evaluate(pos, border=wrong, **exchange)


def test_a_rank_without_atoms_takes_part_in_every_exchange(model):
    widths = []
    system = System(model)
    system.set_neighbors([], [0], [])
    result = system.evaluate(np.zeros((0, 3)), None, forward=lambda r: widths.append(r.shape), reverse=lambda r: None)
    assert result.energy == 0
    assert len(widths) == 2


def test_an_exchange_that_fails_stops_the_evaluation(model):
    atoms = structures()["molecule"]
    start, sender, _ = listed(model, atoms)
    system = System(model)
    system.set_neighbors(atoms.numbers, start, sender)

    def broken(rows):
        raise KeyError("no such rank")

    with pytest.raises(KeyError, match="no such rank"):
        system.evaluate(atoms.positions, forward=broken, reverse=broken)
    assert np.isfinite(system.evaluate(atoms.positions).energy)


def test_atoms_of_number_zero_take_no_part(model):
    atoms = structures()["molecule"]
    kept = evaluated(model, atoms)
    more = atoms.copy()
    more += structures()["two far"]
    more.positions[-2:] = atoms.positions[:2] + 0.4
    more.numbers[-2:] = 0
    result = evaluated(model, more)
    np.testing.assert_allclose(result.forces[:-2], kept.forces, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.energies[:-2], kept.energies, rtol=1e-13)
    assert not result.forces[-2:].any()
    assert not result.energies[-2:].any()
    assert result.energy == pytest.approx(kept.energy, rel=1e-13)

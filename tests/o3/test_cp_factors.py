import math
import sys
from itertools import product

import numpy as np
import pytest
import torch

from equitensor.errors import InputError
from equitensor.o3 import as_irreps, fit_cp, random_rotation, representation, wigner_3j
from equitensor.o3.cp import CPFactors, all_degrees, assemble, factors_on, measure_errors, path_tensors
from equitensor.o3.cp_cyclic import CyclicFactors, fit_cyclic, fit_from_cyclic
from equitensor.o3.cp_fit import FreeFactors, cancellation, fit_factors, relative_error
from equitensor.o3.cp_grid import cp_product, default_product
from equitensor.o3.cp_search import chosen_weights
from equitensor.o3.cp_table import UNIT_RANKS, chosen_factors, factors_of_rank, factors_within, load_factors

SIGNALS = {lmax: "+".join(f"{l}{p}" for l in range(lmax + 1) for p in "eo") for lmax in (1, 2, 3)}


def tensor(factors):
    return assemble(factors.a, factors.b, factors.c)


def unit_sum(lmax):
    """Block by block: the sum of all Wigner 3j."""
    total = torch.zeros(3 * ((lmax + 1) ** 2,), dtype=torch.float64)
    for l1, l2, l3 in product(range(lmax + 1), repeat=3):
        if abs(l1 - l2) <= l3 <= l1 + l2:
            total[l1**2 : (l1 + 1) ** 2, l2**2 : (l2 + 1) ** 2, l3**2 : (l3 + 1) ** 2] = wigner_3j(l1, l2, l3)
    return total


def turned(approximate, irreps, rotation):
    d = [representation(space, rotation) for space in irreps]
    return torch.einsum("ijk,ai,bj,ck->abc", approximate, *d)


@pytest.mark.parametrize(("lmax", "rank"), [(1, 8), (2, 30), (3, 90)])
def test_exact_ranks_are_the_unit_coupling_tensor(lmax, rank):
    factors = factors_of_rank(lmax, rank)
    target = unit_sum(lmax)
    assert factors.a.shape == factors.b.shape == factors.c.shape == (rank, (lmax + 1) ** 2)
    assert float((tensor(factors) - target).norm() / target.norm()) < 1e-10
    assert factors.coupling_error < 1e-12 and factors.equivariance_error < 1e-12
    assert cancellation((factors.a, factors.b, factors.c)) < 30


@pytest.mark.parametrize(
    ("lmax", "coupling", "equivariance"), [(1, 1.6e-2, 1.6e-2), (2, 1.2e-2, 1.7e-2), (3, 4.6e-2, 6.3e-2)]
)
def test_published_rank_keeps_its_error(lmax, coupling, equivariance):
    """TDN's 7 lmax^2: percents, whatever the fit."""
    factors = factors_of_rank(lmax, 7 * lmax**2)
    target = unit_sum(lmax)
    assert float((tensor(factors) - target).norm() / target.norm()) == pytest.approx(factors.coupling_error, rel=1e-9)
    assert factors.coupling_error == pytest.approx(coupling, rel=0.1)
    assert factors.equivariance_error == pytest.approx(equivariance, rel=0.1)


def test_equivariance_error_is_the_root_mean_square_over_rotations():
    factors = factors_of_rank(1, 7)
    generator = torch.Generator().manual_seed(0)
    approximate = tensor(factors)
    errors = [
        (turned(approximate, factors.irreps, random_rotation(generator)) - approximate).norm() for _ in range(300)
    ]
    sampled = float(torch.stack(errors).square().mean().sqrt() / approximate.norm())
    assert sampled == pytest.approx(factors.equivariance_error, rel=0.05)


@pytest.mark.parametrize(("lmax", "rank", "paths"), [(1, 7, 5), (2, 24, 15)])
def test_chosen_weights_give_an_exactly_equivariant_low_rank(lmax, rank, paths):
    factors = chosen_factors(lmax)
    assert factors.rank == rank and len(factors.path_weights) == paths
    torch.testing.assert_close(factors.path_weights, chosen_weights(lmax), rtol=1e-12, atol=0)
    assert 0.7 < factors.path_weights.abs().min() < factors.path_weights.abs().max() < 1.5
    approximate = tensor(factors)
    rotation = random_rotation(torch.Generator().manual_seed(1))
    assert float((turned(approximate, factors.irreps, rotation) - approximate).abs().max()) < 1e-13
    stack = path_tensors(*factors.irreps)
    projections = torch.einsum("pijk,ijk->p", stack, approximate)
    torch.testing.assert_close(projections, factors.path_weights, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("lmax", [1, 2])
def test_even_part_is_symmetric_and_odd_part_antisymmetric(lmax):
    """So T(y, x) = E - O: the two-evaluation identity between true and pseudo signals holds too."""
    approximate = tensor(chosen_factors(lmax))
    parity = torch.tensor([(-1.0) ** l for l in range(lmax + 1) for _ in range(2 * l + 1)], dtype=torch.float64)
    odd_sum = torch.einsum("i,j,k->ijk", parity, parity, parity) < 0
    even, odd = approximate.masked_fill(odd_sum, 0.0), approximate.masked_fill(~odd_sum, 0.0)
    assert float(odd.norm()) > 0.5
    torch.testing.assert_close(even, even.transpose(0, 1), rtol=0, atol=1e-14)
    torch.testing.assert_close(odd, -odd.transpose(0, 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("lmax", "rows"), [(1, 14), (2, 48), (3, 192)])
def test_default_expresses_every_path_of_both_signals(lmax, rows):
    irreps = (as_irreps(SIGNALS[lmax]),) * 3
    made = default_product(*irreps)
    assert len(made.a) == rows
    assert max(measure_errors(made[:3], irreps, made.path_weights)) < 1e-14
    assert 0.2 < made.path_weights.abs().min() < made.path_weights.abs().max() < 4


@pytest.mark.parametrize(
    ("irreps", "rows", "source"),
    [
        (("0e+1e", "0e+1e", "0e+1e"), 7, "rank 7"),
        (("0e+1o+2e", "0e+1o+2e", "0e+1o+2e"), 18, "grid of 18 rows"),
        (("0e+1o+2e", "0e+1o+2e", "1e+2o"), 24, "Poisson brackets of 24 rows"),
        (("1o", "1o", "1e"), 7, "rank 7"),
        (("0e+1e+2e+3e",) * 3, 96, "grid of 32 rows and Poisson brackets of 64 rows"),
        (("1o+3o", "0e+1o", "0e+2e+4e+1e"), 32 + 2 * 32, "grid of 32 rows and Poisson brackets of 64 rows"),
    ],
)
def test_default_takes_the_fewest_rows(irreps, rows, source):
    made = default_product(*map(as_irreps, irreps))
    assert (len(made.a), made.source) == (rows, source)
    assert max(measure_errors(made[:3], tuple(map(as_irreps, irreps)), made.path_weights)) < 1e-14


def test_inversion_is_exact_for_inexact_factors():
    irreps = (as_irreps(SIGNALS[1]),) * 3
    (a, b, c), _ = factors_on(factors_of_rank(1, 7), irreps)
    approximate = assemble(a, b, c)
    assert float((turned(approximate, irreps, -torch.eye(3)) - approximate).abs().max()) < 1e-14
    assert float((turned(approximate, irreps, random_rotation()) - approximate).abs().max()) > 1e-4


def test_tolerance_takes_the_lowest_rank():
    assert factors_within(2, 5e-2).rank == 28
    assert factors_within(2, 5e-3).rank == 29
    assert factors_within(2, 1e-9).rank == 30
    with pytest.raises(InputError, match=r"lmax 4 have a coupling error <= 0.1 .*fit_cp"):
        factors_within(4, 0.1)
    with pytest.raises(InputError, match=r"rank 31 at lmax 2 .*24, 28, 29, 30"):
        factors_of_rank(2, 31)
    with pytest.raises(InputError, match="rank and tolerance are given"):
        cp_product(all_degrees(1), rank=7, tolerance=0.1)


def test_fit_converges_and_its_seed_decides():
    exact = fit_cp(1, 8)
    assert exact.coupling_error < 1e-13
    assert float((tensor(exact) - unit_sum(1)).abs().max()) < 1e-13
    assert torch.equal(fit_cp(1, 8).a, exact.a)
    assert not torch.equal(fit_cp(1, 8, seed=5).a, exact.a)
    rough = fit_cp(1, 6, starts=4, ridge=1e-5)
    assert 0.2 < rough.coupling_error < 0.4


def test_fit_for_own_irreps():
    cross = fit_cp(("1o", "1o", "1e"), 5)
    assert cross.rank == 5 and cross.coupling_error < 1e-13  # the Levi-Civita tensor has rank 5
    assert fit_cp(("1o", "1o", "1e"), 4, ridge=1e-5).coupling_error > 0.1
    weighted = fit_cp(("0e+1o", "1o", "0e+1o"), 6, torch.tensor([2.0, 0.5]), starts=10)
    assert weighted.coupling_error < 1e-13 and weighted.path_weights.tolist() == [2.0, 0.5]
    with pytest.raises(InputError, match="the factors are for 1x1o x 1x1o -> 1x1e, the layer is"):
        factors_on(cross, tuple(map(as_irreps, ("1e", "1e", "1e"))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_cp(1, 0), "rank is 0"),
        (lambda: fit_cp(("0e", "0e", "1e"), 2), "degree must lie"),
        (lambda: fit_cp(("2x0e", "0e", "0e"), 2), "multiplicity one"),
        (lambda: fit_cp(1, 7, torch.ones(4)), r"\(4,\): expected \(5,\)"),
        (lambda: fit_factors(torch.ones(2, 2), 2), "tensor"),
        (lambda: fit_factors(torch.full((2, 2, 2), math.nan), 2), "finite"),
    ],
)
def test_fit_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("form", [CyclicFactors(2, 1, 4), FreeFactors([torch.Size((5, d)) for d in (4, 3, 2)])])
def test_normal_matrix_and_gradient_are_those_of_the_jacobian(form):
    generator = torch.Generator().manual_seed(0)
    numel = 20 if isinstance(form, CyclicFactors) else 45
    theta = torch.randn(numel, generator=generator, dtype=torch.float64)
    target = unit_sum(1)[:4, : 4 if numel == 20 else 3, : 4 if numel == 20 else 2]
    residual = assemble(*form.factors(theta)) - target
    jacobian = torch.func.jacrev(lambda t: assemble(*form.factors(t)))(theta).reshape(-1, numel)
    torch.testing.assert_close(form.normal(form.factors(theta)), jacobian.T @ jacobian)
    torch.testing.assert_close(form.gradient(form.factors(theta), residual), jacobian.T @ residual.flatten())


def test_cyclic_fit():
    target = unit_sum(1)
    a, b, c = fit_cyclic(target, 8, 2, seed=1, ridge=0.0, steps=300)
    assert torch.equal(a[:2], b[:2]) and torch.equal(a[2:4], c[4:6])
    free = fit_from_cyclic(target, 8, 2, seed=1, ridge=0.0, steps=300)
    assert relative_error(free, target) <= relative_error((a, b, c), target) + 1e-13
    assert relative_error(free, target) < 1e-13
    with pytest.raises(InputError, match="rank 8 is not 3 symmetric terms"):
        fit_cyclic(target, 8, 3, 0, 0.0, 1)
    with pytest.raises(InputError, match="in a circle"):
        fit_cyclic(torch.arange(8.0).view(2, 2, 2), 8, 2, 0, 0.0, 1)


def _edited(arrays, key, change):
    return {**arrays, key: change(arrays[key])}


@pytest.mark.parametrize("damage", ["value", "nan", "shape", "missing", "errors", "truncated", "absent", "text"])
def test_damaged_file_is_refused(tmp_path, monkeypatch, damage):
    table = sys.modules["equitensor.o3.cp_table"]
    name, path = "lmax1_chosen", tmp_path / "factors.npz"
    with np.load(table.FACTORS_FILE, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file if key.startswith(name)}
    change = {
        "value": lambda: _edited(arrays, f"{name}_a", lambda a: a + 1e-9),
        "nan": lambda: _edited(arrays, f"{name}_b", lambda b: b * math.nan),
        "shape": lambda: _edited(arrays, f"{name}_c", lambda c: c[:, :3]),
        "missing": lambda: {key: value for key, value in arrays.items() if not key.endswith("_c")},
        "errors": lambda: _edited(arrays, f"{name}_errors", lambda e: e + 1e-3),
    }.get(damage, lambda: arrays)()
    np.savez(path, **change)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:700])
    elif damage == "absent":
        path.unlink()
    elif damage == "text":
        path.write_text("not an archive")
    monkeypatch.setattr(table, "FACTORS_FILE", path)
    load_factors.cache_clear()
    with pytest.raises(InputError, match=r"factors.npz: the factors lmax1_chosen are damaged"):
        chosen_factors(1)
    load_factors.cache_clear()


def test_every_shipped_entry_is_sound():
    for lmax, ranks in UNIT_RANKS.items():
        shipped = [factors_of_rank(lmax, rank) for rank in ranks]
        assert all(isinstance(factors, CPFactors) for factors in shipped)
        errors = [factors.coupling_error for factors in shipped]
        assert errors == sorted(errors, reverse=True)

import pytest
import torch

from equitensor import testing
from equitensor.o3 import (
    as_irreps,
    gaunt,
    gaunt_grid,
    poisson,
    poisson_coefficient,
    poisson_grid,
    quadrature,
    spherical_harmonics,
)
from equitensor.o3.poisson import tangential_derivatives, tangents

BOTH = "0e+1o+2e+3o+0o+1e+2o+3e"


def irreps(text):
    return [ir for _, ir in as_irreps(text)]


def natural(lmax, parity=1):
    return irreps("+".join(f"{l}{'e' if parity * (-1) ** l == 1 else 'o'}" for l in range(lmax + 1)))


def tensor(tables):
    return torch.einsum("ri,rj,rk->ijk", *tables)


def expected_tensor(irs1, irs2, irs_out, coupling, odd):
    """The coupling of degrees wherever degrees and parities allow it, block by block."""
    total = torch.zeros(*(sum(ir.dim for ir in irs) for irs in (irs1, irs2, irs_out)), dtype=torch.float64)
    ends = [torch.tensor([ir.dim for ir in irs]).cumsum(0).tolist() for irs in (irs1, irs2, irs_out)]
    for a, end1 in zip(irs1, ends[0], strict=True):
        for b, end2 in zip(irs2, ends[1], strict=True):
            for c, end3 in zip(irs_out, ends[2], strict=True):
                if c in a * b and (a.l + b.l + c.l) % 2 == odd:
                    block = (slice(end1 - a.dim, end1), slice(end2 - b.dim, end2), slice(end3 - c.dim, end3))
                    total[block] = coupling(a.l, b.l, c.l)
    return total


def test_derivatives_are_those_of_the_polynomials():
    points, _ = quadrature(12)
    poles = torch.cat([points, torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    for direction, ours in zip(tangents(poles), tangential_derivatives(4, poles), strict=True):
        _, theirs = torch.autograd.functional.jvp(lambda p: spherical_harmonics(4, p), poles, direction)
        testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("lmax", "points"), [(1, 6), (2, 12), (3, 32), (6, None)])
def test_grid_equals_closed_coefficient(lmax, points):
    true, pseudo = natural(lmax), natural(lmax, -1)
    tables = poisson_grid(true, true, pseudo)
    assert points is None or len(tables[0]) == 2 * points
    testing.assert_close(tensor(tables), expected_tensor(true, true, pseudo, poisson, odd=1), 1e-12)


@pytest.mark.parametrize(
    "spaces",
    [(BOTH, BOTH, BOTH), (BOTH, "0e+1o+2e", BOTH), ("1o+1e", "2e+2o", "2o+3o"), ("2e+1o+1o", "1e", "2e+1e+2o")],
)
def test_parities(spaces):
    spaces = [irreps(text) for text in spaces]
    testing.assert_close(tensor(poisson_grid(*spaces)), expected_tensor(*spaces, poisson, odd=1), 1e-12)
    testing.assert_close(tensor(gaunt_grid(*spaces)), expected_tensor(*spaces, gaunt, odd=0), 1e-12)


def test_cross_product():
    """1o x 1o -> 1e: Y_1 is sqrt(3 / 4 pi) n, and {n_a, n_b} = eps_abc n_c."""
    a, b, c = poisson_grid(irreps("1o"), irreps("1o"), irreps("1e"))
    x, y = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factor = (3 / (4 * torch.pi)) ** 0.5
    testing.assert_close(c.T @ ((a @ x) * (b @ y)), factor * torch.linalg.cross(x, y))


def test_every_odd_path_is_there():
    triples = [(a, b, c) for a in range(1, 11) for b in range(1, 11) for c in range(abs(a - b), min(10, a + b) + 1)]
    assert all((poisson_coefficient(*t) > 0.1) == (sum(t) % 2 == 1) for t in triples)
    assert poisson_coefficient(1, 1, 3) == poisson_coefficient(0, 1, 1) == 0


def test_nothing_to_couple():
    tables = poisson_grid(irreps("1o"), irreps("1o"), irreps("1o"))
    assert [tuple(table.shape) for table in tables] == [(0, 3)] * 3

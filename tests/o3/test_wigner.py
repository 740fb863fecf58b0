import itertools

import pytest
import torch
from e3nn import o3 as e3nn_o3

from equitensor.errors import InputError
from equitensor.o3 import gaunt, quadrature, random_rotation, spherical_harmonics, wigner_3j, wigner_D
from equitensor.o3.wigner import triangle, wigner_3j_symbol

UP_TO_6 = [t for t in itertools.product(range(7), repeat=3) if triangle(*t)]
UP_TO_4 = [t for t in itertools.product(range(5), repeat=3) if triangle(*t)]
HIGHER = [(8, 7, 5), (10, 10, 10), (9, 10, 4), (12, 12, 12), (12, 9, 4)]


def test_equals_e3nn():
    for degrees in UP_TO_6 + HIGHER:
        theirs = e3nn_o3.wigner_3j(*degrees, dtype=torch.float64)
        assert float((wigner_3j(*degrees) - theirs).abs().max()) < 1e-14, degrees


def test_norm_and_exchange():
    for l1, l2, l3 in UP_TO_4:
        tensor = wigner_3j(l1, l2, l3)
        assert float(tensor.norm()) == pytest.approx(1, abs=1e-14)
        torch.testing.assert_close(wigner_3j(l2, l3, l1), tensor.permute(1, 2, 0), rtol=0, atol=1e-15)
        swapped = (-1) ** (l1 + l2 + l3) * tensor.permute(1, 0, 2)
        torch.testing.assert_close(wigner_3j(l2, l1, l3), swapped, rtol=0, atol=1e-15)


@pytest.mark.parametrize("degrees", [(1, 1, 1), (1, 2, 3), (2, 2, 1), (4, 3, 2), (6, 5, 4)])
def test_invariant(degrees):
    rotation = random_rotation(torch.Generator().manual_seed(0))
    matrices = [wigner_D(l, rotation) for l in degrees]
    turned = torch.einsum("ijk,ai,bj,ck->abc", wigner_3j(*degrees), *matrices)
    torch.testing.assert_close(turned, wigner_3j(*degrees), rtol=0, atol=1e-13)


def test_complex_symbol_known_values():
    assert wigner_3j_symbol(1, 1, 2, 0, 0, 0) == pytest.approx((2 / 15) ** 0.5, rel=1e-15)
    assert wigner_3j_symbol(2, 6, 4, 0, 0, 0) == pytest.approx((5 / 143) ** 0.5, rel=1e-15)
    assert wigner_3j_symbol(1, 1, 1, 1, -1, 0) == pytest.approx(6**-0.5, rel=1e-15)
    assert wigner_3j_symbol(1, 1, 1, 0, 0, 0) == 0


def test_no_coupling():
    with pytest.raises(InputError, match="1, 1 to 3"):
        wigner_3j(1, 1, 3)


@pytest.mark.parametrize("degrees", [*UP_TO_4, (6, 5, 5), (6, 6, 6)])
def test_gaunt_is_the_integral(degrees):
    points, weights = quadrature(sum(degrees))
    y = [spherical_harmonics(l, points)[:, l * l :] for l in degrees]
    integral = torch.einsum("q,qi,qj,qk->ijk", weights, *y)
    torch.testing.assert_close(gaunt(*degrees), integral, rtol=0, atol=2e-14)


def test_wigner_D_turns_harmonics():
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    points[0] = torch.tensor([0, 1.0, 0])
    for inversion in (False, True):
        rotation = random_rotation(generator, inversion)
        for l in (0, 1, 2, 5, 12):
            before, after = (spherical_harmonics(l, p)[:, l * l :] for p in (points, points @ rotation.T))
            matrix = wigner_D(l, rotation)
            assert float((after - before @ matrix.T).abs().max()) < 1e-12 * float(before.abs().max())
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(2 * l + 1).double(), rtol=0, atol=1e-13)


def test_wigner_D_parity_and_refusal():
    mirror = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64))
    torch.testing.assert_close(wigner_D(1, mirror), mirror)
    torch.testing.assert_close(wigner_D(1, mirror, parity=1), -mirror)
    torch.testing.assert_close(wigner_D(0, mirror, parity=-1), -torch.ones(1, 1).double())
    with pytest.raises(InputError, match="orthogonal"):
        wigner_D(1, 2 * mirror)

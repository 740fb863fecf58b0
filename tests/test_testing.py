"""Every assertion of the conformance kit accepts the true thing and rejects each broken twin."""

from pathlib import Path

import numpy as np
import pytest
import torch

from equitensor import testing
from equitensor.graph import Structure
from equitensor.nn.interaction import Interaction
from equitensor.o3 import random_rotation, representation
from equitensor.o3.irreps import as_irreps

IRREPS = as_irreps("2x0e+2x1o+2x2e")
TRIPLE = as_irreps("2x0e+2x1o+2x1e+2x2e")


def product(seed=0):
    torch.manual_seed(seed)
    return Interaction(IRREPS, IRREPS, TRIPLE).double()


def rejects(check, *arguments, **options):
    with pytest.raises(AssertionError):
        check(*arguments, **options)


def test_equivariance_accepts_the_product():
    testing.assert_equivariant(product(), [IRREPS, IRREPS], TRIPLE)
    testing.assert_equivariant(product().float(), [IRREPS, IRREPS], TRIPLE, dtype=torch.float32)


def swapped_components(z):
    """Two components of the first 2e exchanged: one degree permuted."""
    start = TRIPLE.slices()[3].start
    order = torch.arange(TRIPLE.dim)
    order[[start, start + 1]] = order[[start + 1, start]]
    return z[:, order]


def one_path_turned(z):
    """One block in a frame of its own."""
    block = TRIPLE.slices()[1]
    turn = representation(TRIPLE[1:2], random_rotation(torch.Generator().manual_seed(5)))
    return torch.cat([z[:, : block.start], z[:, block] @ turn, z[:, block.stop :]], dim=1)


@pytest.mark.parametrize(
    "twin",
    [
        lambda x, y, z: torch.ones_like(z),  # the output does not turn
        lambda x, y, z: torch.zeros_like(z),  # nothing at all
        lambda x, y, z: z + x[:, :1] * torch.arange(z.shape[1]),  # an unturned part
        lambda x, y, z: z.abs(),
        lambda x, y, z: swapped_components(z),
        lambda x, y, z: one_path_turned(z),
        lambda x, y, z: torch.cat([z[:, :2], z[:, 8:14], z[:, 2:8], z[:, 14:]], dim=1),  # 1o and 1e exchanged
        lambda x, y, z: z * (1 + 1e-6 * x[:, 2:3]),  # a small violation
    ],
)
def test_equivariance_rejects(twin):
    layer = product()
    rejects(testing.assert_equivariant, lambda x, y: twin(x, y, layer(x, y).detach()), [IRREPS, IRREPS], TRIPLE)


def test_equivariance_rejects_the_inverse_rotation():
    """Components in reversed order transform with another matrix, as the inverse rotation does."""
    rejects(testing.assert_equivariant, lambda x: x.flip(1), ["1x1o"], "1x1o")


@pytest.mark.parametrize(
    "twin",
    [
        lambda z: -z,
        lambda z: 2 * z,
        lambda z: z.detach() + 0 * z,  # right values, no gradient
        lambda z: z + (z - z.detach()) ** 2,  # right values and gradients, wrong second derivatives
    ],
)
def test_same_map_rejects(twin):
    layer = product()
    inputs = [torch.randn(3, IRREPS.dim, dtype=torch.float64) for _ in range(2)]
    testing.assert_same_map(layer, layer, inputs)
    rejects(testing.assert_same_map, lambda x, y: twin(layer(x, y)), layer, inputs)


def test_same_map_rejects_a_dropped_path():
    layer, dropped = product(), product()
    inputs = [torch.randn(3, IRREPS.dim, dtype=torch.float64) for _ in range(2)]
    with torch.no_grad():
        dropped.weight.view(-1, 2)[4] = 0
    rejects(testing.assert_same_map, dropped, layer, inputs)


def test_twice_differentiable_rejects_a_wrong_derivative():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            return 3 * grad * ctx.saved_tensors[0].detach() ** 2  # the first derivative is right

    x = torch.randn(3, dtype=torch.float64)
    testing.assert_twice_differentiable(lambda x: x**3, [x])
    with pytest.raises((AssertionError, RuntimeError)):
        testing.assert_twice_differentiable(Wrong.apply, [x])


def crystal():
    rng = np.random.default_rng(0)
    cell = np.diag([4.0, 4.5, 5.0]) + 0.2 * rng.normal(size=(3, 3))
    pos = rng.uniform(size=(5, 3)) @ cell
    return Structure(z=np.array([14, 6, 14, 6, 8]), pos=pos, cell=cell, pbc=np.ones(3, dtype=bool))


def springs(structure):
    """E = sum over pairs and cells of z z exp(-r^2): a potential with forces and stress in closed form."""
    shifts = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) @ structure.cell
    vectors = structure.pos[:, None, None] - structure.pos[None, :, None] + shifts
    terms = structure.z[:, None, None] * structure.z[None, :, None] * np.exp(-(vectors**2).sum(-1))
    terms[np.arange(len(structure)), np.arange(len(structure)), 13] = 0
    pair_force = terms[..., None] * vectors
    volume = abs(np.linalg.det(structure.cell))
    return {
        "energy": torch.tensor(terms.sum() / 2),
        "forces": torch.tensor(2 * pair_force.sum((1, 2))),
        "stress": torch.tensor(-np.einsum("ijsa,ijsb->ab", pair_force, vectors) / volume),
    }


def broken(name, change):
    return lambda structure: springs(structure) | {name: change(springs(structure)[name], structure)}


POTENTIAL_CHECKS = (
    testing.assert_rotation_covariant,
    testing.assert_translation_invariant,
    testing.assert_permutation_invariant,
    testing.assert_forces_match_finite_differences,
    testing.assert_stress_matches_finite_differences,
)


@pytest.mark.parametrize("check", POTENTIAL_CHECKS)
def test_potential_checks_accept_a_true_potential(check):
    check(springs, crystal())


HEIGHT = broken("energy", lambda e, s: e * (1 + 1e-6 * s.pos[0, 2]))
UNTURNED = broken("forces", lambda f, s: f + torch.tensor([1e-3, 0, 0]))
INVERSE = broken("forces", lambda f, s: f.flip(1))
CHIRAL = broken("energy", lambda e, s: e + 1e-3 * np.linalg.det(s.pos[1:4] - s.pos[0]))
FIRST_ATOM = broken("energy", lambda e, s: e * (1 + 1e-6 * s.z[0]))
FLIPPED = broken("forces", lambda f, s: -f)
DOUBLED = broken("forces", lambda f, s: 2 * f)
NO_LAST = broken("forces", lambda f, s: torch.cat([f[:-1], 0 * f[-1:]]))
VIRIAL = broken("stress", lambda t, s: -t)
UNSCALED = broken("stress", lambda t, s: t * abs(np.linalg.det(s.cell)))
UPPER = broken("stress", lambda t, s: t.triu())


@pytest.mark.parametrize(
    ("check", "twin"),
    [
        (testing.assert_rotation_covariant, HEIGHT),
        (testing.assert_rotation_covariant, UNTURNED),
        (testing.assert_rotation_covariant, INVERSE),
        (testing.assert_rotation_covariant, CHIRAL),
        (testing.assert_rotation_covariant, UPPER),
        (testing.assert_translation_invariant, HEIGHT),
        (testing.assert_translation_invariant, NO_LAST),
        (testing.assert_permutation_invariant, FIRST_ATOM),
        (testing.assert_permutation_invariant, NO_LAST),
        (testing.assert_forces_match_finite_differences, FLIPPED),
        (testing.assert_forces_match_finite_differences, DOUBLED),
        (testing.assert_forces_match_finite_differences, NO_LAST),
        (testing.assert_forces_match_finite_differences, INVERSE),
        (testing.assert_stress_matches_finite_differences, VIRIAL),
        (testing.assert_stress_matches_finite_differences, UNSCALED),
        (testing.assert_stress_matches_finite_differences, UPPER),
    ],
)
def test_potential_checks_reject(check, twin):
    rejects(check, twin, crystal())


def test_every_assertion_has_a_twin():
    names = [name for name in dir(testing) if name.startswith("assert_") and name != "assert_close"]
    here = Path(__file__).read_text()
    assert all(here.count(name) >= 2 for name in names)


@pytest.mark.parametrize("twin", [torch.zeros(3), 2 * torch.ones(3), torch.full((3,), torch.nan), torch.ones(1, 3)])
def test_close_rejects(twin):
    testing.assert_close(torch.ones(3) + 1e-7, torch.ones(3))
    rejects(testing.assert_close, twin, torch.ones(3))
    rejects(testing.assert_close, torch.zeros(3), torch.zeros(3))

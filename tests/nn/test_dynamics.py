"""Newton's equations on each kernel: forces are minus the gradient of its energy, and the total energy stays.

Six atoms with harmonic springs to their places, and an energy from the squares of one layer's output. The error of
the total energy falls with the square of the time step only with forces exact to rounding: forces 1 % off fail.
"""

import pytest
import torch

from equitensor import testing
from equitensor.interfaces.e3nn import TensorProduct
from equitensor.nn import Convolution, Interaction, ManyBody
from equitensor.nn.density_product import DensityProduct
from equitensor.nn.harmonics import SphericalHarmonics

ATOMS, CHANNELS, LMAX = 6, 4, 3
HARMONICS = "0e+1o+2e+3o"
FEATURES = "+".join(f"{CHANNELS}x{ir}" for ir in HARMONICS.split("+"))
EDGES = torch.tensor([(i, j) for i in range(ATOMS) for j in range(ATOMS) if i != j]).T
ELEMENTS = torch.tensor([0, 1, 0, 1, 1, 0])
KERNELS = {
    "convolution cg": lambda: through_convolution("cg"),
    "convolution gaunt": lambda: through_convolution("gaunt"),
    "convolution cp": lambda: through_convolution("cp"),
    "radial convolution": lambda: through_convolution("cg", folded=True),
    "product of messages": lambda: through_messages(),
    "interaction cg": lambda: on_density(Interaction(FEATURES, FEATURES, FEATURES), twice=True),
    "interaction gaunt": lambda: on_density(Interaction(FEATURES, FEATURES, FEATURES, product="gaunt"), twice=True),
    "interaction cp": lambda: on_density(Interaction(FEATURES, FEATURES, FEATURES, product="cp"), twice=True),
    "many-body cg": lambda: on_density(ManyBody(FEATURES, FEATURES, 3, 2)),
    "many-body gaunt": lambda: on_density(ManyBody(FEATURES, FEATURES, 3, 2, product="gaunt")),
    "many-body cp": lambda: on_density(ManyBody(FEATURES, FEATURES, 2, 2, product="cp")),
    "density product": lambda: on_density(DensityProduct(2, LMAX, CHANNELS, 3, "cg"), flat=False),
}


def values(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def through_convolution(product, folded=False):
    layer, x = Convolution(FEATURES, HARMONICS, HARMONICS, product=product).double(), values(ATOMS, CHANNELS * 16)
    matrix = values(2, layer.weight_numel)

    def features(y, radial):
        if folded:
            return layer.forward_radial(x, y, radial, matrix, EDGES)
        return layer(x, y, radial @ matrix, EDGES)

    return features


def through_messages():
    like, x = Convolution(FEATURES, HARMONICS, HARMONICS), values(EDGES.shape[1], CHANNELS * 16)
    layer = TensorProduct(FEATURES, HARMONICS, like.irreps_out, like.instructions, shared_weights=False).double()
    matrix = values(2, layer.weight_numel)
    return lambda y, radial: layer(x, y, radial @ matrix)


def on_density(layer, twice=False, flat=True):
    layer, matrix = layer.double(), values(2, CHANNELS)

    def features(y, radial):
        terms = torch.einsum("em,ec->emc", y, radial @ matrix)
        density = y.new_zeros(ATOMS, 16, CHANNELS).index_add(0, EDGES[1], terms)
        if not flat:
            return layer(density, ELEMENTS)
        rows = torch.cat([b.mT.flatten(1) for b in density.split([2 * l + 1 for l in range(LMAX + 1)], 1)], 1)
        return layer(rows, rows) if twice else layer(rows, ELEMENTS)

    return features


def potential(name):
    """energy(pos) and the places of the springs."""
    torch.manual_seed(0)
    features, harmonics, places = KERNELS[name](), SphericalHarmonics(LMAX).double(), 1.5 * values(ATOMS, 3)

    def bare(pos):
        vectors = pos[EDGES[1]] - pos[EDGES[0]]
        distance = vectors.norm(dim=1, keepdim=True)
        radial = torch.cat([(-(distance**2) / 4).exp(), (-(distance**2) / 2).exp()], 1)
        return features(harmonics(vectors / distance), radial).square().sum()

    scale = torch.autograd.functional.jacobian(bare, places).norm().item()
    return lambda pos: bare(pos) / scale + 5 * (pos - places).square().sum(), places


def forces(energy, pos):
    pos = pos.detach().requires_grad_()
    return -torch.autograd.grad(energy(pos), pos)[0]


def fluctuation(energy, pos, timestep, duration=1.0):
    """The largest change of the total energy in velocity Verlet dynamics from rest."""
    velocity, force, totals = torch.zeros_like(pos), forces(energy, pos), []
    for _ in range(round(duration / timestep)):
        velocity = velocity + 0.5 * timestep * force
        pos = pos + timestep * velocity
        force = forces(energy, pos)
        velocity = velocity + 0.5 * timestep * force
        totals.append((energy(pos) + 0.5 * velocity.square().sum()).item())
    return max(totals) - min(totals)


@pytest.mark.parametrize("name", KERNELS)
def test_forces_and_dynamics(name):
    energy, places = potential(name)
    pos, direction = places + 0.1 * values(ATOMS, 3), values(ATOMS, 3)
    one, two = ((energy(pos + h * direction) - energy(pos - h * direction)).item() for h in (2e-4, 4e-4))
    derivative = (8 * one - two) / 24e-4
    testing.assert_close(-(forces(energy, pos) * direction).sum(), torch.tensor(derivative, dtype=torch.float64), 1e-8)
    ratio = fluctuation(energy, pos, 0.02) / fluctuation(energy, pos, 0.01)
    assert 3.5 < ratio < 4.5, f"half the time step leaves 1 / {ratio:.2f} of the error of the energy, not a quarter"

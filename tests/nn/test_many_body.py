"""Many-body products: against dense tensors written like the formulas, derivatives, O(3)."""

import copy
from itertools import permutations

import pytest
import torch

from equitensor import testing
from equitensor.nn import Interaction, ManyBody
from equitensor.nn.layout import to_channels_last, to_flat
from equitensor.o3 import as_irreps, gaunt, random_rotation, representation, wigner_3j
from equitensor.o3.symmetric_coupling import symmetric_paths

PRODUCTS = ("cg", "gaunt", "cp")
NATURAL = "3x0e+3x1o+3x2e"
BOTH = "2x0e+2x1o+2x1e+2x0o"
ELEMENTS = torch.tensor([0, 2, 2, 0, 2])


def features(irreps, items=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(items, as_irreps(irreps).dim, generator=generator, dtype=dtype)


def dense_tensors(irs, ir_out, order):
    """(paths, 2 l + 1, d, ..., d): the polynomials of symmetric_paths as symmetric tensors."""
    coupled, d = symmetric_paths(irs, ir_out, order), sum(ir.dim for ir in irs)
    tensor = torch.zeros(len(coupled.slots), ir_out.dim, *[d] * order, dtype=torch.float64)
    for t, monomial in enumerate(coupled.monomials.tolist()):
        places = set(permutations(monomial))
        for place in places:
            tensor[(slice(None), slice(None), *place)] = coupled.coefficients[:, :, t] / len(places)
    return tensor


def dense_cg(layer, x, weights, element_index):
    """Sum over orders and paths of w U x ... x with dense U, as in eq. 10 of the MACE paper."""
    irs, outs = [[ir for _, ir in space] for space in (layer.irreps_in, layer.irreps_out)]
    x, z = to_channels_last(x, layer.irreps_in), 0
    for order, weight in enumerate(weights, start=1):
        blocks, start = [], 0
        for ir_out in outs:
            tensor = dense_tensors(irs, ir_out, order)
            own = weight[element_index][:, start : start + len(tensor)]
            start += len(tensor)
            letters = "ijkl"[:order]
            operands = ",".join(f"n{letter}c" for letter in letters)
            blocks.append(torch.einsum(f"pm{letters},{operands},npc->nmc", tensor, *[x] * order, own))
        z = z + torch.cat(blocks, dim=1)
    return to_flat(z, layer.irreps_out)


def dense_powers(layer, x, weights, element_index, couple):
    """Repeated products with the coupling tensors `couple(l1, l2, l3)`, partial products of every degree kept."""
    x, outs = to_channels_last(x, layer.irreps_in), [ir for _, ir in layer.irreps_out]
    blocks = x.split([ir.dim for _, ir in layer.irreps_in], dim=1)
    first = {ir: block for (_, ir), block in zip(layer.irreps_in, blocks, strict=True)}
    partial, z = first, 0
    for order, weight in enumerate(weights, start=1):
        if order > 1:
            products = {}
            for left, a in partial.items():
                for right, b in first.items():
                    for out in left * right:
                        if (left.l + right.l + out.l) % 2 == 0:
                            term = torch.einsum("ijk,nic,njc->nkc", couple(left.l, right.l, out.l), a, b)
                            products[out] = products.get(out, 0) + term
            partial = products
        own, reached = weight[element_index], [out for _, out in layer.paths[order - 1]]
        zero = x.new_zeros(len(x), 1, layer.channels)
        rows = [
            partial[ir] * own[:, reached.index(ir), None] if ir in reached else zero.expand(-1, ir.dim, -1)
            for ir in outs
        ]
        z = z + torch.cat(rows, dim=1)
    return to_flat(z, layer.irreps_out)


def as_function(layer, element_index=ELEMENTS):
    """x and the weights as arguments."""
    return lambda x, *weights: torch.func.functional_call(
        layer, {f"weights.{n}": w for n, w in enumerate(weights)}, (x, element_index)
    )


@pytest.mark.parametrize("irreps", [(NATURAL, NATURAL), (BOTH, BOTH), ("2x1o+2x2e", "2x0e+2x1o+2x3o")])
@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_cg_equals_dense_contraction(irreps, correlation):
    if correlation == 1 and irreps[0] != irreps[1]:
        irreps = (irreps[0], "2x1o+2x2e")
    layer = ManyBody(*irreps, correlation, 3).double()
    inputs = [features(irreps[0]), *(w.detach() for w in layer.weights)]
    testing.assert_same_map(as_function(layer), lambda x, *w: dense_cg(layer, x, w, ELEMENTS), inputs)


def test_cg_of_four_factors_equals_dense_contraction():
    layer = ManyBody("2x0e+2x1o", "2x0e+2x1o", 4, 3).double()
    inputs = [features("2x0e+2x1o"), *(w.detach() for w in layer.weights)]
    testing.assert_same_map(as_function(layer), lambda x, *w: dense_cg(layer, x, w, ELEMENTS), inputs)


@pytest.mark.parametrize("irreps", [(NATURAL, NATURAL), (BOTH, BOTH), ("2x1e", "2x0e+2x1e+2x2e")])
def test_gaunt_equals_products_with_gaunt_tensors(irreps):
    layer = ManyBody(*irreps, 4, 3, "gaunt").double()
    inputs = [features(irreps[0]), *(w.detach() for w in layer.weights)]
    reference = lambda x, *w: dense_powers(layer, x, w, ELEMENTS, gaunt)  # noqa: E731
    testing.assert_same_map(as_function(layer), reference, inputs)


def test_cp_equals_repeated_interactions():
    layer = ManyBody(NATURAL, NATURAL, 3, 3, "cp").double()
    pair = Interaction(NATURAL, NATURAL, NATURAL, "cp", internal_weights=False).double()

    def repeated(x, *weights):
        z = 0
        for term, weight in zip(pair.powers(x, 3), weights, strict=True):
            blocks = to_channels_last(term, layer.irreps_in).split([1, 3, 5], dim=1)
            own = weight[ELEMENTS]
            z = z + torch.cat([block * own[:, n, None] for n, block in enumerate(blocks)], dim=1)
        return to_flat(z, layer.irreps_out)

    inputs = [features(NATURAL), *(w.detach() for w in layer.weights)]
    testing.assert_same_map(as_function(layer), repeated, inputs)


def test_paths_are_independent_and_complete():
    """As many as the symmetric power of the representation holds, by characters, and orthonormal."""
    irs = [ir for _, ir in as_irreps("0e+1o+2e")]
    for _, ir_out in as_irreps("0e+1o+1e+2o+3o"):
        for order in (2, 3):
            tensors = dense_tensors(irs, ir_out, order).flatten(1)
            assert len(tensors) == multiplicity("0e+1o+2e", ir_out, order)
            gram = tensors @ tensors.T * (6 if order == 3 else 2) / ir_out.dim
            torch.testing.assert_close(gram, torch.eye(len(tensors), dtype=torch.float64))


def multiplicity(irreps, ir_out, order):
    """How often ir_out is in the symmetric power: the mean of characters over O(3), by a fine rule for the angle."""
    angles = torch.arange(64, dtype=torch.float64) * torch.pi / 32
    measure = (1 - angles.cos()) / 64
    total = 0.0
    for inversion in (1, -1):

        def character(ir, times, inversion=inversion):
            m = torch.arange(-ir.l, ir.l + 1, dtype=torch.float64)
            parity = ir.p if inversion == -1 and times % 2 == 1 else 1
            return parity * (times * angles[:, None] * m).cos().sum(1)

        def power_sum(times, character=character):
            return sum(character(ir, times) for _, ir in as_irreps(irreps))

        p1, p2, p3 = (power_sum(n) for n in (1, 2, 3))
        symmetric = (p1**2 + p2) / 2 if order == 2 else (p1**3 + 3 * p1 * p2 + 2 * p3) / 6
        total += float((symmetric * character(ir_out, 1) * measure).sum()) / 2
    return round(total)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariant(product, dtype):
    for irreps_in, irreps_out, correlation in (
        (NATURAL, NATURAL, 3),
        (BOTH, "2x0e+2x1o+2x2e+2x1e+2x0o", 4 if product != "cg" else 3),
        ("2x0e+2x1o+2x2e+2x3o+2x4e", "2x0e+2x1o", 2),
    ):
        layer = ManyBody(irreps_in, irreps_out, correlation, 3, product).to(dtype)
        testing.assert_equivariant(lambda x, layer=layer: layer(x, ELEMENTS), [irreps_in], irreps_out, dtype=dtype)


def test_cg_makes_pseudotensors_of_true_ones():
    """Four different vectors are needed for a cross product of x with itself, three irreps for a triple product."""
    layer = ManyBody("2x1o+2x2e+2x3o", "2x1e+2x0o", 4, 1).double()
    index = torch.zeros(5, dtype=torch.long)
    testing.assert_equivariant(lambda x: layer(x, index), [layer.irreps_in], layer.irreps_out)


def one_block_turned(z):
    turn = representation(as_irreps("3x1o"), random_rotation(torch.Generator().manual_seed(5)))
    return torch.cat([z[:, :3], z[:, 3:12] @ turn, z[:, 12:]], dim=1)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(
    "twin",
    [
        lambda x, z: z + x[:, :1] * torch.arange(z.shape[1]),
        lambda x, z: z.abs(),
        lambda x, z: one_block_turned(z),
        lambda x, z: torch.cat([z[:, :3], z[:, 3:12].roll(1, 1), z[:, 12:]], dim=1),
        lambda x, z: z * (1 + 1e-6 * x[:, 3:4]),
    ],
)
def test_broken_twins_are_rejected(product, twin):
    layer = ManyBody(NATURAL, NATURAL, 3, 3, product).double()
    with pytest.raises(AssertionError):
        testing.assert_equivariant(lambda x: twin(x, layer(x, ELEMENTS).detach()), [NATURAL], NATURAL)


def test_broken_coefficients_are_rejected():
    """A path dropped is another map; a coefficient changed is no longer equivariant."""
    layer = ManyBody(NATURAL, NATURAL, 3, 3).double()
    inputs = [features(NATURAL), *(w.detach() for w in layer.weights)]
    dropped = copy.deepcopy(layer)
    dropped.map.polynomials.basis[5] = 0
    with pytest.raises(AssertionError, match="value"):
        testing.assert_same_map(as_function(dropped), as_function(layer), inputs)
    broken = copy.deepcopy(layer)
    basis = broken.map.polynomials.basis
    basis[:, basis[-1].abs().argmax()] *= 1.001
    with pytest.raises(AssertionError, match="rotation"):
        testing.assert_equivariant(lambda x: broken(x, ELEMENTS), [NATURAL], NATURAL)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("correlation", [1, 3, 4])
def test_derivatives(product, correlation):
    irreps, index = "1x0e+1x1o", torch.tensor([1, 0])
    layer = ManyBody(irreps, irreps, correlation, 2, product).double()
    inputs = [features(irreps, 2), *(w.detach() for w in layer.weights)]
    testing.assert_twice_differentiable(as_function(layer, index), inputs)


def test_chains_agree_with_wigner():
    """Two factors: the only path of 1o x 2e -> 1o is the Wigner 3j, up to its norm."""
    irs = [ir for _, ir in as_irreps("1o+2e")]
    tensors = [t for t, s in zip(dense_tensors(irs, irs[0], 2), symmetric_paths(irs, irs[0], 2).slots, strict=True)]
    expected = wigner_3j(1, 1, 2) * 3**0.5 / 2
    assert len(tensors) == 1
    torch.testing.assert_close(tensors[0][:, :3, 3:], expected)

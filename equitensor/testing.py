"""Conformance kit: assertions for layers and potentials, each of which rejects its broken twins.

For layers, functions of tensors: `assert_equivariant`, `assert_same_map`, `assert_twice_differentiable`.
For potentials, a `predict(structure) -> {"energy", "forces", "stress"}` (`predictor(model)` makes one):
`assert_rotation_covariant`, `assert_translation_invariant`, `assert_permutation_invariant`,
`assert_forces_match_finite_differences`, `assert_stress_matches_finite_differences`.
For any ASE calculator, `verify(calculator, atoms)`: all of these and more, as a report.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from equitensor.graph import AtomicGraph, Structure
from equitensor.o3 import random_rotation, representation
from equitensor.o3.irreps import IrrepsLike, as_irreps
from equitensor.verification import verify as verify

if TYPE_CHECKING:
    from equitensor.models import Potential


class Tolerance(NamedTuple):
    """Largest allowed error, relative to the largest magnitude of what is expected."""

    exact: float  # two ways to compute one number
    symmetry: float  # a whole network before and after a symmetry operation
    derivative: float  # an analytic derivative beside a finite difference


TOLERANCES = {
    torch.float64: Tolerance(exact=1e-11, symmetry=1e-9, derivative=1e-5),
    torch.float32: Tolerance(exact=5e-6, symmetry=1e-4, derivative=1e-2),
}


def assert_close(actual: Tensor, expected: Tensor, tolerance: float | None = None, what: str = "value") -> None:
    """|actual - expected| <= tolerance * max |expected|, shapes equal, something in it not zero.

    The zero check keeps a comparison of nothing with nothing from passing; empty tensors are let through.
    """
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    if expected.numel() == 0:
        return
    tolerance = TOLERANCES[expected.dtype].exact if tolerance is None else tolerance
    scale = expected.abs().max().item()
    assert scale > 0, f"{what}: all zero, which proves nothing"
    error = (actual - expected).abs().max().item() / scale
    assert error <= tolerance, f"{what}: relative error {error:.2e} exceeds {tolerance:.0e}"


def assert_equivariant(
    function: Callable,
    irreps_in: list,
    irreps_out: IrrepsLike | list,
    items: int = 5,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> None:
    """f(D x, D y, ...) = D f(x, y, ...) for two rotations, each also times the inversion, on normal deviates.

    Args:
        function: of one flat tensor (items, irreps.dim) per entry of irreps_in, to (items, irreps_out.dim).
    """
    generator = torch.Generator().manual_seed(seed)
    irreps_in, irreps_out = [as_irreps(irreps) for irreps in irreps_in], as_irreps(irreps_out)
    inputs = [torch.randn(items, irreps.dim, generator=generator, dtype=dtype) for irreps in irreps_in]
    output = function(*inputs)
    for number in range(4):
        rotation = random_rotation(generator, inversion=number % 2 == 1)
        turned = [x @ representation(ir, rotation).T.to(dtype) for x, ir in zip(inputs, irreps_in, strict=True)]
        expected = output @ representation(irreps_out, rotation).T.to(dtype)
        name = "rotation and inversion" if number % 2 else "rotation"
        _assert_blocks_close(function(*turned), expected, irreps_out, name)


def _assert_blocks_close(actual: Tensor, expected: Tensor, irreps, name: str) -> None:
    """Each irrep is held to its own magnitude, so that a small one cannot hide behind a large one."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    for (mul, ir), block in zip(irreps, irreps.slices(), strict=True):
        assert_close(
            actual[:, block],
            expected[:, block],
            20 * TOLERANCES[expected.dtype].exact,
            f"{name} of {mul}x{ir}",
        )


def assert_same_map(ours: Callable, reference: Callable, inputs: list[Tensor]) -> None:
    """Values, gradients and gradients of gradients of two functions agree, in every floating input."""
    ours_terms, reference_terms = (_derivatives(f, inputs) for f in (ours, reference))
    for name, actual in ours_terms.items():
        assert_close(actual, reference_terms[name], what=name)


def _derivatives(function: Callable, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Value, gradient of sum (a . f), and gradient of sum (b . gradient), with fixed random a and b."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    variables = [x for x in leaves if x.requires_grad]
    value = function(*leaves)
    generator = torch.Generator().manual_seed(1)
    first = torch.autograd.grad((value * _normal(value, generator)).sum(), variables, create_graph=True)
    projected = torch.stack([(g * _normal(g, generator)).sum() for g in first]).sum()
    second = torch.autograd.grad(projected, variables, allow_unused=True, materialize_grads=True)
    terms = {"value": value.detach()}
    terms |= {f"first derivative in input {n}": g.detach() for n, g in enumerate(first)}
    return terms | {f"second derivative in input {n}": g for n, g in enumerate(second)}


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


def assert_twice_differentiable(function: Callable, inputs: list[Tensor]) -> None:
    """First and second derivatives equal finite differences (float64, small inputs)."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def predictor(model: Potential) -> Callable[[Structure], dict]:
    """predict(structure) -> {"energy", "forces", and "stress" where periodic} of a Potential, in float64."""

    def predict(structure: Structure) -> dict[str, Tensor]:
        graph = AtomicGraph.collate([AtomicGraph.from_structure(structure, model.cutoff, 0)])
        out = model(graph)
        named = {"energy": out["energy"][0], "forces": out["forces"]}
        if "stress" in out:
            named["stress"] = out["stress"][0]
        return {name: value.detach().to("cpu", torch.float64) for name, value in named.items()}

    return predict


def assert_rotation_covariant(
    predict: Callable, structure: Structure, dtype: torch.dtype = torch.float64, seed: int = 0
) -> None:
    """Energy unchanged, forces and stress turned with the structure, under a rotation and a rotoinversion."""
    before, tolerance = predict(structure), TOLERANCES[dtype].symmetry
    generator = torch.Generator().manual_seed(seed)
    for inversion in (False, True):
        rotation = random_rotation(generator, inversion)
        turned = structure.replace(pos=structure.pos @ rotation.numpy().T, cell=structure.cell @ rotation.numpy().T)
        after = predict(turned)
        assert_close(after["energy"], before["energy"], tolerance, "energy of the turned structure")
        assert_close(after["forces"], before["forces"] @ rotation.T, tolerance, "forces of the turned structure")
        if "stress" in before:
            stress = rotation @ before["stress"] @ rotation.T
            assert_close(after["stress"], stress, tolerance, "stress of the turned structure")


def assert_translation_invariant(predict: Callable, structure: Structure, dtype: torch.dtype = torch.float64) -> None:
    """Nothing changes when all atoms move by one vector, and the forces sum to zero."""
    before, after = (
        predict(structure),
        predict(structure.replace(pos=structure.pos + np.array([1.7, -2.3, 3.1]))),
    )
    for name, value in before.items():
        assert_close(after[name], value, TOLERANCES[dtype].symmetry, f"{name} of the moved structure")
    net = before["forces"].sum(0).abs().max() / before["forces"].abs().max()
    assert net < TOLERANCES[dtype].symmetry * len(structure), f"forces sum to {net:.1e} of the largest, not to 0"


def assert_permutation_invariant(predict: Callable, structure: Structure, dtype: torch.dtype = torch.float64) -> None:
    """Energy unchanged and forces renumbered when every atom takes another number."""
    order = np.roll(np.arange(len(structure)), 1)
    before, after = predict(structure), predict(_reordered(structure, order))
    tolerance = TOLERANCES[dtype].symmetry
    assert_close(after["energy"], before["energy"], tolerance, "energy of the renumbered structure")
    forces = before["forces"][torch.from_numpy(order)]
    assert_close(after["forces"], forces, tolerance, "forces of the renumbered structure")


def _reordered(structure: Structure, order: np.ndarray) -> Structure:
    fields = ("z", "pos", "forces", "fixed", "tags")
    present = {name: getattr(structure, name) for name in fields if getattr(structure, name) is not None}
    return structure.replace(**{name: value[order] for name, value in present.items()})


def assert_forces_match_finite_differences(
    predict: Callable,
    structure: Structure,
    step: float = 1e-3,
    dtype: torch.dtype = torch.float64,
    components: int = 12,
) -> None:
    """Forces equal minus fourth-order central differences of the energy, on some or all coordinates."""
    forces = predict(structure)["forces"]
    chosen = np.linspace(0, 3 * len(structure) - 1, min(components, 3 * len(structure))).astype(int)

    def energy(coordinate: int, shift: float) -> float:
        pos = structure.pos.copy()
        pos.flat[coordinate] += shift
        return float(predict(structure.replace(pos=pos))["energy"])

    derivatives = [-_central_difference(partial(energy, c), step) for c in chosen]
    actual = forces.flatten()[torch.from_numpy(chosen)]
    assert_close(actual, torch.tensor(derivatives, dtype=torch.float64), TOLERANCES[dtype].derivative, "forces")


def assert_stress_matches_finite_differences(
    predict: Callable, structure: Structure, step: float = 1e-4, dtype: torch.dtype = torch.float64
) -> None:
    """Stress equals (1/V) dE/d(strain) by fourth-order central differences, tension positive."""
    volume = abs(np.linalg.det(structure.cell))

    def energy(axis: int, other: int, shift: float) -> float:
        strain = np.eye(3)
        strain[axis, other] += shift / 2
        strain[other, axis] += shift / 2
        strained = structure.replace(pos=structure.pos @ strain, cell=structure.cell @ strain)
        return float(predict(strained)["energy"])

    derivatives = [[_central_difference(partial(energy, a, b), step) for b in range(3)] for a in range(3)]
    expected = torch.tensor(derivatives, dtype=torch.float64) / volume
    assert_close(predict(structure)["stress"], expected, TOLERANCES[dtype].derivative, "stress")


def _central_difference(function: Callable[[float], float], step: float) -> float:
    inner = function(step) - function(-step)
    outer = function(2 * step) - function(-2 * step)
    return (8 * inner - outer) / (12 * step)

"""Forces, stress and second derivatives against finite differences, in hostile geometries too."""

import numpy as np
import pytest
import torch

from equitensor import testing
from equitensor.graph import AtomicGraph

ANY = np.array([0.36, 0.48, 0.8])  # a unit vector
ACROSS = np.array([0.8, -0.6, 0.0])

# Distances along a line: C C O H, with a neighbour behind a neighbour in exactly the same direction.
LINE = np.array([-1.25, 0.0, 1.17, 2.2])
HOSTILE = {
    "collinear along z": LINE[:, None] * np.array([0, 0, 1.0]),
    "collinear along -z": LINE[:, None] * np.array([0, 0, -1.0]),
    "collinear along y": LINE[:, None] * np.array([0, 1.0, 0]),
    "collinear along any": LINE[:, None] * ANY,
    "right angles": np.array([[0, 0, 0], [1.4, 0, 0], [0, 1.3, 0], [0, 0, 1.1]]),
    "coincident directions in a plane": np.array([0 * ANY, 1.3 * ANY, 2.6 * ANY, 1.1 * ACROSS]),
    "nearly collinear": LINE[:, None] * ANY + np.array([[0, 0, 0], [0, 0, 1e-9], [0, 0, 0], [0, 0, 0]]),
}


def hessian(model, structure) -> torch.Tensor:
    """d2E/dx2 (3n, 3n) by differentiating the forces: the derivative that training on forces takes."""
    graph = AtomicGraph.from_structure(structure, model.cutoff)
    flat = graph.pos.flatten()

    def energy(x):
        vectors = graph.edge_vectors(x.view(-1, 3))
        return model.atomic_energies(graph, vectors).sum()

    return torch.autograd.functional.hessian(energy, flat)


def forces_by_differences(model, structure, step=1e-3) -> torch.Tensor:
    """-d(forces)/dx (3n, 3n) by fourth-order central differences."""
    predict, columns = testing.predictor(model), []
    for coordinate in range(3 * len(structure)):

        def forces(shift, coordinate=coordinate):
            pos = structure.pos.copy()
            pos.flat[coordinate] += shift
            return predict(structure.replace(pos=pos))["forces"].flatten()

        inner, outer = forces(step) - forces(-step), forces(2 * step) - forces(-2 * step)
        columns.append(-(8 * inner - outer) / (12 * step))
    return torch.stack(columns)


@pytest.mark.parametrize("name", ["alanine", "crystal"])
def test_forces_of_trained_weights(trained_model, name, request):
    structure = request.getfixturevalue(name)
    testing.assert_forces_match_finite_differences(testing.predictor(trained_model), structure)


def test_stress_of_trained_weights(trained_model, crystal):
    testing.assert_stress_matches_finite_differences(testing.predictor(trained_model), crystal)


@pytest.mark.parametrize("geometry", HOSTILE)
def test_first_and_second_derivatives_in_hostile_geometries(trained_model, make_structure, geometry):
    structure = make_structure([6, 6, 8, 1], HOSTILE[geometry])
    testing.assert_forces_match_finite_differences(testing.predictor(trained_model), structure)
    second = hessian(trained_model, structure)
    assert second.isfinite().all()
    testing.assert_close(second, second.T.contiguous(), 1e-9, "symmetry of the Hessian")
    testing.assert_close(second, forces_by_differences(trained_model, structure), 1e-6, "second derivatives")


def test_forces_in_training_mode_can_be_learnt_from(trained_model, alanine):
    graph = AtomicGraph.from_structure(alanine, trained_model.cutoff)
    weight = trained_model.backbone.head
    direction = torch.randn(graph.pos.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def projected(shift):
        with torch.no_grad():
            weight[0, 0] += shift
            value = float((trained_model(graph)["forces"] * direction).sum())
            weight[0, 0] -= shift
        return value

    derivative = (projected(1e-4) - projected(-1e-4)) / 2e-4
    trained_model.train()
    try:
        (gradient,) = torch.autograd.grad((trained_model(graph)["forces"] * direction).sum(), weight)
    finally:
        trained_model.eval()
    assert abs(float(gradient[0, 0]) - derivative) < 1e-6 * abs(derivative)

"""Elements that are alike begin alike and learn together; different ones do not."""

import torch
from ase.data import atomic_numbers

from equitensor import models
from equitensor.models.similar_elements import begin_alike, covariance, train_alike
from equitensor.nn.weights import ElementTable

_SIZES = {"channels": 32, "edge_channels": 32, "lmax": 1}


def numbers_of(*symbols):
    return sorted(atomic_numbers[symbol] for symbol in symbols)


def test_the_covariance_is_one_and_says_who_is_alike():
    of_all = covariance(range(1, 119))
    assert torch.equal(of_all.diagonal(), torch.ones(118, dtype=torch.float64)) and torch.equal(of_all, of_all.T)
    assert torch.linalg.eigvalsh(of_all).min() > 0.09

    def alike(a, b):
        return float(of_all[atomic_numbers[a] - 1, atomic_numbers[b] - 1])

    for near, far in (("CuNi", "CuO"), ("LaCe", "LaLu"), ("NaK", "NaCl"), ("SiGe", "SiF"), ("ClBr", "ClK")):
        a, b = symbols(near)
        c, d = symbols(far)
        assert alike(a, b) > alike(c, d) + 0.1, (near, far)


def symbols(word):
    cut = 1 if word[1].isupper() else 2
    return word[:cut], word[cut:]


def test_rows_of_tables_begin_with_that_covariance():
    elements = numbers_of("H", "O", "Fe", "Co", "Ni", "Cu")
    potential = models.build(_SIZES | {"channels": 2000}, elements, dict.fromkeys(elements, 0.0))
    weight = potential.backbone.rounds[0].product.coefficients.weight.detach().double().flatten(1)
    weight = weight / weight.square().mean().sqrt()
    of_weights = weight @ weight.T / weight.shape[1]
    assert torch.allclose(of_weights, covariance(elements), atol=5 / weight.shape[1] ** 0.5)


def test_an_element_that_is_not_in_a_batch_learns_with_those_that_resemble_it():
    elements = numbers_of("O", "Co", "Ni")
    potential = models.build(_SIZES, elements, dict.fromkeys(elements, 0.0))
    table = potential.backbone.embedding.sender
    train_alike(potential)
    (gradient,) = torch.autograd.grad(table(torch.tensor([2])).sum(), table.weight)
    assert torch.allclose(gradient[:, 0].double(), covariance(elements)[:, 2], atol=1e-6)
    potential.requires_grad_(False)
    train_alike(potential)  # weights that are frozen learn nothing


def test_a_table_of_one_number_an_element():
    table = ElementTable(3)
    before = table.weight.detach().clone()
    begin_alike(table, numbers_of("O", "Co", "Ni"))
    root = torch.linalg.cholesky(covariance(numbers_of("O", "Co", "Ni"))).to(before)
    assert torch.allclose(table.weight.detach(), root @ before)

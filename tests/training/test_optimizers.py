"""The optimisers descend, treat stacks as separate matrices, and SOAP is what its paper says."""

import numpy as np
import pytest
import torch
from torch import nn

from equitensor.nn.weights import ElementTable, matrix
from equitensor.training.optimizers import build_optimizer, orthogonalised, split_parameters
from equitensor.training.soap import SOAP


class Quadratic(nn.Module):
    """|A W - B|^2 per degree, a vector and an element table."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.stack, self.bias = nn.Parameter(normal(3, 6, 5)), nn.Parameter(normal(5))
        self.thin = nn.Parameter(normal(6, 1))
        self.table = ElementTable(8, 6).double()
        self.target, self.maps = normal(3, 6, 5), normal(3, 6, 6) / 6 + torch.eye(6, dtype=torch.float64)

    def forward(self):
        main = (self.maps @ (self.stack - self.target)).square().sum()
        return main + self.bias.square().sum() + self.thin.square().sum() + self.table.weight.square().sum()


@pytest.mark.parametrize("name", ["soap", "muon", "adam"])
def test_it_descends(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Quadratic()
    optimizer = build_optimizer(model, name, lr=0.05)
    first = float(model().detach())
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] *= 0.5 if step in (200, 300) else 1.0
        optimizer.zero_grad()
        model().backward()
        optimizer.step()
    assert float(model().detach()) < 2e-3 * first


@pytest.mark.parametrize("name, steps", [("soap", 2), ("muon", 1), ("adam", 1)])  # SOAP's first step moves nothing
def test_weight_decay_takes_from_the_matrices_alone(name, steps):
    norms = []
    for decay in (0.0, 0.3):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Quadratic()
        start = {key: value.clone() for key, value in model.state_dict().items()}
        optimizer = build_optimizer(model, name, lr=0.05, weight_decay=decay)
        for _ in range(steps):
            optimizer.zero_grad()
            model().backward()
            optimizer.step()
        norms.append(model.state_dict())
    for key, value in start.items():
        lost = 0.05 * 0.3 * value if key == "stack" else torch.zeros_like(value)
        torch.testing.assert_close(norms[0][key] - norms[1][key], lost, rtol=0, atol=1e-12)


def test_tables_vectors_and_thin_matrices_are_left_to_adam():
    model = Quadratic()
    matrices, others = split_parameters(model)
    assert [p is model.stack for p in matrices] == [True]
    assert {id(p) for p in others} == {id(model.bias), id(model.thin), id(model.table.weight)}


class PlainSOAP:
    """SOAP of one matrix after Vyas et al. 2024, algorithms 3 and 4, in numpy, with exact indices.

    Eigenvalues are shifted by a millionth of their sum, and eight iterations from the axes give the first basis.
    """

    def __init__(self, lr, b1, b2, b3, eps, refresh):
        self.lr, self.b1, self.b2, self.b3, self.eps, self.refresh = lr, b1, b2, b3, eps, refresh
        self.t = -1

    def update(self, w, g):
        self.t += 1
        if self.t == 0:
            self.left, self.right = (1 - self.b3) * g @ g.T, (1 - self.b3) * g.T @ g
            self.ql, self.qr = np.eye(len(self.left)), np.eye(len(self.right))
            for _ in range(8):
                self.ql, self.qr = turned(self.left, self.ql)[0], turned(self.right, self.qr)[0]
            self.m, self.v = np.zeros_like(g), np.zeros_like(g)
            return w
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * (self.ql.T @ g @ self.qr) ** 2
        first = self.ql.T @ self.m @ self.qr / (1 - self.b1**self.t)
        second = np.sqrt(self.v / (1 - self.b2**self.t)) + self.eps
        w = w - self.lr * self.ql @ (first / second) @ self.qr.T
        self.left = self.b3 * self.left + (1 - self.b3) * g @ g.T
        self.right = self.b3 * self.right + (1 - self.b3) * g.T @ g
        if self.t % self.refresh == 0:
            (self.ql, rows), (self.qr, columns) = turned(self.left, self.ql), turned(self.right, self.qr)
            self.v = self.v[rows][:, columns]
        return w


def turned(moment, basis):
    """A step of orthogonal iteration, and the order of columns before it."""
    order = np.argsort(-np.diag(basis.T @ moment @ basis))
    shifted = moment + 1e-6 * np.trace(moment) * np.eye(len(moment))
    return np.linalg.qr(shifted @ basis[:, order])[0], order


def test_soap_of_one_matrix_is_the_algorithm():
    rng = np.random.default_rng(0)
    w, target = rng.standard_normal((2, 5, 4))
    ours = nn.Parameter(torch.tensor(w))
    optimizer = SOAP([{"params": [ours], "matrices": True}], lr=0.03, betas=(0.9, 0.95, 0.8), refresh=3)
    plain = PlainSOAP(0.03, 0.9, 0.95, 0.8, 1e-8, 3)
    scales = np.linspace(0.5, 2.0, 20).reshape(5, 4)
    for step in range(9):
        noise = rng.standard_normal((5, 4))
        w = plain.update(w, scales * (w - target) + noise)
        ours.grad = torch.tensor(scales) * (ours.detach() - torch.tensor(target)) + torch.tensor(noise)
        optimizer.step()
        np.testing.assert_allclose(ours.detach().numpy(), w, rtol=1e-9, atol=1e-10, err_msg=f"step {step}")


def test_soap_does_not_part_two_runs_that_differ_by_rounding():
    """Gradients of rank two of matrices of rank six, with errors in the last digit: eigenvectors of zero are free."""
    weights = [nn.Parameter(torch.zeros(3, 8, 6, dtype=torch.float64)) for _ in range(2)]
    optimizers = [SOAP([{"params": [w], "matrices": True}], lr=0.01) for w in weights]
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    for _ in range(25):
        gradient = normal(3, 8, 2) @ normal(3, 2, 6)
        for error, weight, optimizer in zip((0.0, 1e-15), weights, optimizers, strict=True):
            weight.grad = gradient * (1 + error * normal(3, 8, 6))
            optimizer.step()
    torch.testing.assert_close(*weights, rtol=0, atol=1e-9)
    assert weights[0].abs().max() > 0.05


@pytest.mark.parametrize("name", ["soap", "muon"])
def test_a_stack_is_a_batch_of_separate_matrices(name):
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64)
    stacked, separate = nn.ParameterList([start.clone()]), nn.ParameterList([x.clone() for x in start])
    optimizers = [build_optimizer(p, name, lr=0.1) for p in (stacked, separate)]
    for _ in range(12):
        grad = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64)
        stacked[0].grad = grad
        for p, g in zip(separate, grad, strict=True):
            p.grad = g
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(torch.stack(list(separate)).detach(), stacked[0].detach(), rtol=1e-9, atol=1e-10)


def test_orthogonalised():
    x = matrix(7, 4, 3).detach().double()
    values = torch.linalg.svdvals(orthogonalised(x))
    assert (values - 1).abs().max() < 0.35
    torch.testing.assert_close(orthogonalised(x.mT), orthogonalised(x).mT)


def test_rates_by_part_need_a_model_with_parts():
    with pytest.raises(TypeError, match="a Potential has parts, Quadratic has none"):
        build_optimizer(Quadratic(), "adam", {"readout": 0.1})

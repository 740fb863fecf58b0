"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, arXiv 2409.11321)."""

import torch
from torch import Tensor


class SOAP(torch.optim.Optimizer):
    """SOAP for weight matrices and Adam for everything else, in one optimiser.

    A parameter group with matrices=True holds parameters (..., m, n), each a stack of matrices. Stacks of equal
    (m, n) are joined and updated by batched products, so that a network of many small matrices costs few calls.
    A group with matrices=False gets plain Adam. `weight_decay` of a group of matrices is decoupled, as in AdamW.

    Args: params; lr; betas of the first and second moments and of the preconditioner (third); eps;
    refresh, the number of steps between two updates of the eigenbases.
    """

    def __init__(self, params, lr=0.01, betas=(0.95, 0.95, 0.95), eps=1e-8, refresh=10):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "refresh": refresh, "matrices": False, "weight_decay": 0.0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameters in _by_shape(group):
                if group["matrices"]:
                    self._step_matrices(group, parameters)
                else:
                    self._step_adam(group, parameters)
        return loss

    def _state_of(self, parameters):
        """The state of joined parameters is kept under the first of them."""
        return self.state[parameters[0]]

    def _step_adam(self, group, parameters):
        grads = torch.cat([p.grad.flatten() for p in parameters])
        state = self._state_of(parameters)
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(grads), exp_avg_sq=torch.zeros_like(grads))
        state["step"] += 1
        beta1, beta2, _ = group["betas"]
        state["exp_avg"].lerp_(grads, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(grads, grads, value=1 - beta2)
        update = _adam_direction(state["exp_avg"], state, group)
        _subtract(parameters, update.split([p.numel() for p in parameters]), group["lr"])

    def _step_matrices(self, group, parameters):
        m, n = parameters[0].shape[-2:]
        grads = torch.cat([p.grad.reshape(-1, m, n) for p in parameters])
        state = self._state_of(parameters)
        beta1, beta2, beta3 = group["betas"]
        if not state:
            state.update(
                step=0,
                exp_avg=torch.zeros_like(grads),
                exp_avg_sq=torch.zeros_like(grads),
                left=(1 - beta3) * grads @ grads.mT,
                right=(1 - beta3) * grads.mT @ grads,
            )
            state["left_basis"] = torch.linalg.eigh(state["left"])[1]
            state["right_basis"] = torch.linalg.eigh(state["right"])[1]
            return  # the first gradient only chooses the basis
        left, right = state["left_basis"], state["right_basis"]
        state["step"] += 1
        state["exp_avg"].lerp_(grads, 1 - beta1)
        rotated = left.mT @ grads @ right
        state["exp_avg_sq"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        direction = _adam_direction(left.mT @ state["exp_avg"] @ right, state, group)
        update = left @ direction @ right.mT
        if decay := group["lr"] * group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - decay)
        _subtract(parameters, update.split([p.numel() // (m * n) for p in parameters]), group["lr"])
        state["left"].baddbmm_(grads, grads.mT, beta=beta3, alpha=1 - beta3)
        state["right"].baddbmm_(grads.mT, grads, beta=beta3, alpha=1 - beta3)
        if state["step"] % group["refresh"] == 0:
            _turn_bases(state)


def _by_shape(group):
    """Lists of the group's parameters that are updated together: all of them, or those of equal matrix shape."""
    with_grad = [p for p in group["params"] if p.grad is not None]
    if not group["matrices"]:
        return [with_grad] if with_grad else []
    shapes = {}
    for p in with_grad:
        shapes.setdefault(tuple(p.shape[-2:]), []).append(p)
    return list(shapes.values())


def _subtract(parameters: list, updates, rate: float) -> None:
    """parameters -= rate updates, given in any shape of as many numbers."""
    shaped = [update.view_as(p) for p, update in zip(parameters, updates, strict=True)]
    torch._foreach_sub_(parameters, shaped, alpha=rate)


def _adam_direction(exp_avg: Tensor, state: dict, group: dict) -> Tensor:
    beta1, beta2, _ = group["betas"]
    first, second = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
    return (exp_avg / first) / ((state["exp_avg_sq"] / second).sqrt() + group["eps"])


def _turn_bases(state: dict) -> None:
    """One step of orthogonal iteration for both bases, eigenvectors in falling order of their eigenvalues."""
    second = state["exp_avg_sq"]
    for side, axis in (("left", 1), ("right", 2)):
        moment, basis = state[side], state[f"{side}_basis"]
        product = moment @ basis
        order = (basis * product).sum(dim=1).argsort(dim=1, descending=True)
        product = product.gather(2, order[:, None, :].expand_as(product))
        index = order[:, :, None] if axis == 1 else order[:, None, :]
        second = second.gather(axis, index.expand_as(second))
        state[f"{side}_basis"] = torch.linalg.qr(product)[0]
    state["exp_avg_sq"] = second

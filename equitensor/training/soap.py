"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, arXiv 2409.11321)."""

import torch
from torch import Tensor


class SOAP(torch.optim.Optimizer):
    """SOAP for weight matrices and Adam for everything else, in one optimiser.

    A parameter group with matrices=True holds parameters (..., m, n), each a stack of matrices. Stacks of equal
    (m, n) are joined and multiplied in batches, and what Adam does to each number is done to all of the group in one
    row, so that a network of many small matrices costs few calls. A group with matrices=False gets plain Adam.
    `weight_decay` of a group of matrices is decoupled, as in AdamW.

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
            if parameters := [p for p in group["params"] if p.grad is not None]:
                (self._step_matrices if group["matrices"] else self._step_adam)(group, parameters)
        return loss

    def load_state_dict(self, state_dict) -> None:
        """As any optimiser's. Raises ValueError for a state in the form that an earlier version kept."""
        if any(isinstance(state.get("left"), Tensor) for state in state_dict["state"].values()):
            raise ValueError("it was written by an earlier version, whose state of SOAP had another form")
        super().load_state_dict(state_dict)

    def _step_adam(self, group, parameters):
        grads = torch.cat([p.grad.flatten() for p in parameters])
        state = self.state[parameters[0]]  # of all of them
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(grads), exp_avg_sq=torch.zeros_like(grads))
        state["step"] += 1
        direction, factor = _adam_direction(grads, state, group)
        _subtract(parameters, direction, group["lr"] * factor)

    def _step_matrices(self, group, parameters):
        stacks = by_shape(parameters, _tall)
        grads = [torch.cat([_tall(p.grad.reshape(-1, *p.shape[-2:])) for p in stack]) for stack in stacks]
        state, beta = self.state[parameters[0]], group["betas"][2]
        if not state:
            _begin(state, grads, beta)
            return  # the first gradient only chooses the basis
        left, right = state["left_basis"], state["right_basis"]
        state["step"] += 1
        direction, factor = _adam_direction(_turned(left, grads, right), state, group)
        update = _turned_back(left, _stacked(direction, grads), right)
        if decay := group["lr"] * group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - decay)
        _subtract([_tall(p) for stack in stacks for p in stack], update, group["lr"] * factor)
        for moment, grad in zip(state["left"], grads, strict=True):
            moment.baddbmm_(grad, grad.mT, beta=beta, alpha=1 - beta)
        for moment, grad in zip(state["right"], grads, strict=True):
            moment.baddbmm_(grad.mT, grad, beta=beta, alpha=1 - beta)
        if state["step"] % group["refresh"] == 0:
            _turn_bases(state, grads)


def by_shape(parameters: list, turned=lambda stack: stack) -> list[list]:
    """Lists of those whose matrices, as `turned` gives them, have one shape."""
    shapes = {}
    for p in parameters:
        shapes.setdefault(turned(p).shape[-2:], []).append(p)
    return list(shapes.values())


def _tall(stack: Tensor) -> Tensor:
    """Matrices that are no wider than high: those of a shape and its transpose make one stack."""
    return stack.mT if stack.shape[-1] > stack.shape[-2] else stack


def _begin(state: dict, grads: list[Tensor], beta: float) -> None:
    """`exp_avg` and `exp_avg_sq` hold all stacks one after the other, in their eigenbases; the others are lists."""
    numbers = sum(grad.numel() for grad in grads)
    state.update(step=0, exp_avg=grads[0].new_zeros(numbers), exp_avg_sq=grads[0].new_zeros(numbers))
    state["left"] = [(1 - beta) * grad @ grad.mT for grad in grads]
    state["right"] = [(1 - beta) * grad.mT @ grad for grad in grads]
    for side in ("left", "right"):
        state[f"{side}_basis"] = [torch.linalg.eigh(moment)[1] for moment in state[side]]


def _stacked(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """Views of numbers in a row as stacks of these shapes."""
    pieces = flat.split([stack.numel() for stack in like])
    return [piece.view(stack.shape) for piece, stack in zip(pieces, like, strict=True)]


def _turned(left: list[Tensor], stacks: list[Tensor], right: list[Tensor]) -> Tensor:
    """left^T stack right of all stacks, in a row."""
    flat = stacks[0].new_empty(sum(stack.numel() for stack in stacks))
    for q, stack, r, out in zip(left, stacks, right, _stacked(flat, stacks), strict=True):
        torch.bmm(torch.bmm(q.mT, stack), r, out=out)
    return flat


def _turned_back(left: list[Tensor], stacks: list[Tensor], right: list[Tensor]) -> Tensor:
    """left stack right^T of all stacks, in a row."""
    return _turned([q.mT for q in left], stacks, [r.mT for r in right])


def _subtract(parameters: list, updates: Tensor, rate: float) -> None:
    """parameters -= rate updates, these in a row."""
    pieces = updates.split([p.numel() for p in parameters])
    torch._foreach_sub_(parameters, [u.view(p.shape) for u, p in zip(pieces, parameters, strict=True)], alpha=rate)


def _adam_direction(grads: Tensor, state: dict, group: dict) -> tuple[Tensor, float]:
    """The moments with one gradient more, the direction that follows, and a factor that it lacks."""
    beta1, beta2, _ = group["betas"]
    first, second = 1 - beta1 ** state["step"], (1 - beta2 ** state["step"]) ** 0.5
    state["exp_avg"].lerp_(grads, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(grads, grads, value=1 - beta2)
    size = state["exp_avg_sq"].sqrt().add_(second * group["eps"])
    return torch.div(state["exp_avg"], size, out=size), second / first


def _turn_bases(state: dict, grads: list[Tensor]) -> None:
    """One step of orthogonal iteration for both bases, eigenvectors in falling order of their eigenvalues."""
    left, right = state["left_basis"], state["right_basis"]
    average = _stacked(_turned_back(left, _stacked(state["exp_avg"], grads), right), grads)
    squares = _stacked(state["exp_avg_sq"], grads)
    for k, second in enumerate(squares):
        for side, axis in (("left", 1), ("right", 2)):
            product = state[side][k] @ state[f"{side}_basis"][k]
            order = (state[f"{side}_basis"][k] * product).sum(dim=1).argsort(dim=1, descending=True)
            product = product.gather(2, order[:, None, :].expand_as(product))
            index = order[:, :, None] if axis == 1 else order[:, None, :]
            second = second.gather(axis, index.expand_as(second))
            state[f"{side}_basis"][k] = torch.linalg.qr(product)[0]
        squares[k].copy_(second)
    state["exp_avg"] = _turned(left, average, right)

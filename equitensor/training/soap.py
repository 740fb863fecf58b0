"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, arXiv 2409.11321)."""

import torch
from torch import Tensor

_SHIFT = 1e-6  # of the trace of a preconditioner
_FIRST = 8  # orthogonal iterations that give the first eigenbases


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
        self._rows: dict[tuple, _Row] = {}

    def __setstate__(self, state) -> None:
        super().__setstate__(state)
        self._rows = {}

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

    def _row(self, parameters, matrices: bool, name: str = "gradients") -> "_Row":
        """Memory for their values, the same at every step."""
        key = (name, *map(id, parameters))
        if key not in self._rows:
            self._rows[key] = _Row(parameters, matrices)
        return self._rows[key]

    def _step_adam(self, group, parameters):
        row, state = self._row(parameters, False), self.state[parameters[0]]  # of all of them
        row.take([p.grad for p in parameters])
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(row.flat), exp_avg_sq=torch.zeros_like(row.flat))
        state["step"] += 1
        factor = _adam_direction(row, state, group)
        torch._foreach_sub_(parameters, row.pieces, alpha=group["lr"] * factor)

    def _step_matrices(self, group, parameters):
        gradients, update = (self._row(parameters, True, name) for name in ("gradients", "update"))
        gradients.take([p.grad for p in parameters])
        grads, state, beta = gradients.stacks, self.state[parameters[0]], group["betas"][2]
        if not state:
            _begin(state, grads, beta)
            return  # the first gradient only chooses the basis
        left, right = state["left_basis"], state["right_basis"]
        state["step"] += 1
        _turn(left, grads, right, update.stacks)
        factor = _adam_direction(update, state, group)
        _turn_back(left, update.stacks, right, update.stacks)
        if decay := group["lr"] * group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - decay)
        torch._foreach_sub_(parameters, update.pieces, alpha=group["lr"] * factor)
        for moment, grad in zip(state["left"], grads, strict=True):
            moment.baddbmm_(grad, grad.mT, beta=beta, alpha=1 - beta)
        for moment, grad in zip(state["right"], grads, strict=True):
            moment.baddbmm_(grad.mT, grad, beta=beta, alpha=1 - beta)
        if state["step"] % group["refresh"] == 0:
            _turn_bases(state, update)


class _Row:
    """Numbers of several parameters, one after the other in `flat`.

    `pieces` are views of them in the order and the shapes of the parameters. Matrices of one shape, or its transpose,
    lie side by side: `stacks` are views (k, m, n) of them, no wider than high.
    """

    def __init__(self, parameters: list[Tensor], matrices: bool) -> None:
        self.flat = parameters[0].new_empty(sum(p.numel() for p in parameters))
        stacks = by_shape(parameters, _tall) if matrices else [parameters]
        pieces = iter(self.flat.split([p.numel() for stack in stacks for p in stack]))
        by_parameter = {
            id(p): _like(p, next(pieces)) if matrices else next(pieces).view(p.shape) for s in stacks for p in s
        }
        self.pieces = [by_parameter[id(p)] for p in parameters]
        self.stacks = []
        if matrices:
            shapes = [(-1, *_tall(stack[0]).shape[-2:]) for stack in stacks]
            sizes = [sum(p.numel() for p in stack) for stack in stacks]
            self.stacks = [x.view(shape) for x, shape in zip(self.flat.split(sizes), shapes, strict=True)]

    def take(self, values: list[Tensor]) -> None:
        """Copy what belongs to each parameter."""
        torch._foreach_copy_(self.pieces, values)

    def stacked(self, flat: Tensor) -> list[Tensor]:
        """Views of other values in such a row as stacks."""
        pieces = flat.split([stack.numel() for stack in self.stacks])
        return [piece.view(stack.shape) for piece, stack in zip(pieces, self.stacks, strict=True)]


def by_shape(parameters: list, turned=lambda stack: stack) -> list[list]:
    """Lists of those whose matrices, as `turned` gives them, have one shape."""
    shapes = {}
    for p in parameters:
        shapes.setdefault(turned(p).shape[-2:], []).append(p)
    return list(shapes.values())


def _tall(stack: Tensor) -> Tensor:
    """Matrices that are no wider than high: those of a shape and its transpose make one stack."""
    return stack.mT if stack.shape[-1] > stack.shape[-2] else stack


def _like(parameter: Tensor, piece: Tensor) -> Tensor:
    """Numbers of matrices that are no wider than high, in the shape of the parameter."""
    tall = _tall(parameter)
    return piece.view(tall.shape) if tall is parameter else piece.view(tall.shape).mT


def _begin(state: dict, grads: list[Tensor], beta: float) -> None:
    """`exp_avg` and `exp_avg_sq` hold all stacks one after the other, in their eigenbases; the others are lists."""
    size = sum(grad.numel() for grad in grads)
    state.update(step=0, exp_avg=grads[0].new_zeros(size), exp_avg_sq=grads[0].new_zeros(size))
    state["left"] = [(1 - beta) * grad @ grad.mT for grad in grads]
    state["right"] = [(1 - beta) * grad.mT @ grad for grad in grads]
    for side in ("left", "right"):
        state[f"{side}_basis"] = [_first_basis(moment) for moment in state[side]]


def _first_basis(moment: Tensor) -> Tensor:
    """An eigenbasis that begins at the axes: eigenvectors of zero, of which a first gradient has many, would otherwise
    be any that rounding makes of them."""
    basis = torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device).expand_as(moment)
    for _ in range(_FIRST):
        basis, _ = _iterated(moment, basis)
    return basis


def _turn(left: list[Tensor], stacks: list[Tensor], right: list[Tensor], out: list[Tensor]) -> None:
    """left^T stack right of all stacks."""
    for q, stack, r, result in zip(left, stacks, right, out, strict=True):
        torch.bmm(torch.bmm(q.mT, stack), r, out=result)


def _turn_back(left: list[Tensor], stacks: list[Tensor], right: list[Tensor], out: list[Tensor]) -> None:
    """left stack right^T of all stacks."""
    _turn([q.mT for q in left], stacks, [r.mT for r in right], out)


def _adam_direction(row: _Row, state: dict, group: dict) -> float:
    """Add the gradients in a row to the moments, write the direction that follows over them; a factor that it lacks."""
    beta1, beta2, _ = group["betas"]
    first, second = 1 - beta1 ** state["step"], (1 - beta2 ** state["step"]) ** 0.5
    grads, square = row.flat, state["exp_avg_sq"]
    state["exp_avg"].lerp_(grads, 1 - beta1)
    square.mul_(beta2).addcmul_(grads, grads, value=1 - beta2)
    size = square.sqrt().add_(second * group["eps"])
    torch.div(state["exp_avg"], size, out=grads)
    return second / first


def _iterated(moment: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """The basis after a step of orthogonal iteration, and the order of its columns, by falling eigenvalues, before.

    Eigenvalues are shifted by a little, so that directions whose own are only rounding errors of the largest stay where
    they are: turned by such errors, two runs that differ in the last digit would part within a few steps.
    """
    product = moment @ basis
    values = (basis * product).sum(dim=1)
    order = values.argsort(dim=1, descending=True)
    shifted = product + (_SHIFT * values.sum(dim=1))[:, None, None] * basis
    return torch.linalg.qr(shifted.gather(2, order[:, None, :].expand_as(shifted)))[0], order


def _turn_bases(state: dict, row: _Row) -> None:
    """One step of orthogonal iteration for both bases, eigenvectors in falling order of their eigenvalues."""
    left, right = state["left_basis"], state["right_basis"]
    average, squares = row.stacked(state["exp_avg"]), row.stacked(state["exp_avg_sq"])
    _turn_back(left, average, right, average)
    for k, second in enumerate(squares):
        for side, axis in (("left", 1), ("right", 2)):
            state[f"{side}_basis"][k], order = _iterated(state[side][k], state[f"{side}_basis"][k])
            index = order[:, :, None] if axis == 1 else order[:, None, :]
            second = second.gather(axis, index.expand_as(second))
        squares[k].copy_(second)
    _turn(left, average, right, average)

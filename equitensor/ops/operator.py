"""How an operator is made, see docs/operators.md: schema, kernels, reference, fake and derivatives in one place."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Sequence

import torch
from torch import _C, Tensor
from torch.compiler import is_dynamo_compiling

from equitensor import core
from equitensor.ops.cuda.dispatch import implement
from equitensor.ops.cuda.proof import Proof

LIBRARY = torch.library.Library("equitensor", "FRAGMENT")
PRECISIONS = {torch.float32: core.PRECISIONS["float32"], torch.float64: core.PRECISIONS["float64"]}
_PLAIN = {Tensor, torch.nn.Parameter}
_LEAF = type(torch.autograd.graph.get_gradient_edge(torch.zeros(1, requires_grad=True)).node)


KERNELS: list[Kernel] = []  # all there are, for the test that compares them with the header


class Kernel:
    """equitensor_`name` of csrc/core/equitensor.h, on tensors; see there for the order of its arguments."""

    def __init__(self, name: str, sizes: int, arrays: int, constants: int = 0) -> None:
        self.name, self.sizes, self.constants, self.arrays = name, sizes, constants, arrays
        self.function = core.function(name, sizes, arrays, constants)
        KERNELS.append(self)

    def __call__(self, dtype: torch.dtype, scalars: Sequence, arrays: Sequence[Tensor | None]) -> None:
        """scalars: sizes, flags and constants; arrays: contiguous tensors, empty or None where there is none.

        Raises RuntimeError with the core's own message.
        """
        addresses = [None if t is None else t.data_ptr() for t in arrays]
        if self.function(PRECISIONS[dtype], *scalars, *addresses, torch.get_num_threads()):
            raise RuntimeError(core.error())


def define(
    schema: str,
    *,
    kernel: Callable,
    fake: Callable,
    backward: Callable | None = None,
    reference: Callable | None = None,
    on_gpu: Callable | None = None,
    operands: int = 0,
    proof: Proof | None = None,
    kept: int = 0,
) -> Callable:
    """Register torch.ops.equitensor.`name`; the function returned calls it, past the dispatcher where possible.

    kernel: what computes it on the CPU where the core is loaded. reference: what computes it elsewhere, and what the
    kernels do not take. on_gpu: its CUDA kernel, which needs the first `operands` arguments in one precision; proof:
    how that is compared with plain torch when it is first used.
    fake: the fake (meta) implementation. backward(arguments, needs, *gradients): the gradients of the arguments, in
    their order, None where not needed, and without those behind the last tensor that has one; `gradients`, those of the
    results, may be None. Written with operators, it can be differentiated again; without it, that is refused.
    kept: how many results, the last ones, the backward gets, too, behind the arguments.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema)
    if reference is not None:
        LIBRARY.impl(name, _in_own_precision(reference), "CompositeExplicitAutograd")
    if on_gpu is not None:
        implement(name, operands, on_gpu, reference, proof)
    torch.library.register_fake(f"equitensor::{name}", fake, lib=LIBRARY)
    registered = getattr(torch.ops.equitensor, name).default
    arguments = Arguments(registered)
    setup, differentiate = _differentiation(arguments, backward or _refusal(name), kept)
    torch.library.register_autograd(f"equitensor::{name}", differentiate, setup_context=setup, lib=LIBRARY)
    if core.LIBRARY is None:
        return registered
    kernel = _first_that_can(kernel, reference)
    LIBRARY.impl(name, kernel, "CPU")
    return _past_the_dispatcher(registered, arguments.tensors, kernel, _node(name, kernel, setup, differentiate))


class Arguments:
    """An operator's arguments: its tensors, which autograd keeps, and its other arguments, apart and together again."""

    def __init__(self, registered) -> None:
        kinds = [str(argument.type) for argument in registered._schema.arguments]
        tensors = [n for n, kind in enumerate(kinds) if "Tensor" in kind]
        others = [n for n, kind in enumerate(kinds) if "Tensor" not in kind]
        self.tensors, self.others, self.count = _getter(tensors), _getter(others), len(tensors)
        order = tensors + others
        self.together = _getter([order.index(n) for n in range(len(order))])


def _getter(places: list[int]) -> Callable[[tuple], tuple]:
    if not places:
        return lambda items: ()
    pick = operator.itemgetter(*places)
    return pick if len(places) > 1 else lambda items: (pick(items),)


def _past_the_dispatcher(registered: Callable, tensors: Callable, kernel: Callable, node: Callable) -> Callable:
    """The operator, calling its kernel directly for plain CPU tensors outside of any mode, trace or transform.

    Dispatching to a kernel in Python takes longer than many kernels do.
    """

    def call(*arguments):
        if is_dynamo_compiling() or _observed():
            return registered(*arguments)
        differentiable = False
        for t in tensors(arguments):
            if t is not None:
                if type(t) not in _PLAIN or not t.is_cpu:
                    return registered(*arguments)
                differentiable = differentiable or t.requires_grad
        return (node if differentiable and torch.is_grad_enabled() else kernel)(*arguments)

    return call


def _observed() -> bool:
    """Whether a mode, a transform or a tracer must see every operator."""
    return (
        _C._len_torch_dispatch_stack() > 0
        or _C._are_functorch_transforms_active()
        or _C._get_tracing_state() is not None
    )


def _node(name: str, kernel: Callable, setup: Callable, differentiate: Callable) -> Callable:
    """The kernel as a node of autograd's graph."""

    def forward(ctx, *arguments):
        output = kernel(*arguments)
        setup(ctx, arguments, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(differentiate)}
    function: type[torch.autograd.Function] = type(name, (torch.autograd.Function,), members)
    # The apply that Function inherits: its own adds what transforms need, of which there are none here.
    return super(torch.autograd.Function, function).apply  # type: ignore[misc]  # of C, which torch has no types of


def _in_own_precision(function: Callable) -> Callable:
    """Autocast would lower it in the middle of a sum."""

    @functools.wraps(function)
    def call(x, *others):
        if not torch.is_autocast_enabled(x.device.type):
            return function(x, *others)
        with torch.autocast(x.device.type, enabled=False):
            return function(x, *others)

    return call


def _first_that_can(kernel: Callable, reference: Callable | None) -> Callable:
    """The core knows float32 and float64; other precisions go to the reference."""
    if reference is None:
        return kernel
    instead = _in_own_precision(reference)

    @functools.wraps(kernel)
    def call(x, *others):
        return kernel(x, *others) if x.dtype in PRECISIONS else instead(x, *others)

    return call


def _differentiation(arguments: Arguments, backward: Callable, kept: int) -> tuple[Callable, Callable]:
    tensors, others, together, count = arguments.tensors, arguments.others, arguments.together, arguments.count

    def setup(ctx, inputs, output):
        ctx.set_materialize_grads(False)
        ctx.constants = others(inputs)
        ctx.save_for_backward(*tensors(inputs), *(output[-kept:] if kept else ()))

    def differentiate(ctx, *gradients):
        needs, saved = ctx.needs_input_grad, ctx.saved_tensors
        if gradients[0] is None and all(g is None for g in gradients):
            return (None,) * len(needs)
        inputs = together(saved[:count] + ctx.constants)
        results = backward((*inputs, *saved[count:]), _needs(ctx, needs, inputs), *gradients)
        return (*results, *[None] * (len(needs) - len(results)))

    return setup, differentiate


def _refusal(name: str) -> Callable:
    """Without a derivative a result would pass for a constant."""

    def backward(*_):
        raise RuntimeError(f"equitensor::{name} has no derivative: what it belongs to may be differentiated twice only")

    return backward


_pass = threading.local()  # of autograd: the last one that asked for the gradient of a leaf


def _needs(ctx, needs: tuple[bool, ...], inputs: tuple) -> Sequence[bool]:
    """Whose gradients this pass of autograd wants, of those that could have one: forces need none of the weights'."""
    if sum(needs) < 2:
        return needs
    nodes, place, wanted = ctx.next_functions, 0, []  # one node for each argument that is a tensor
    for need, value in zip(needs, inputs, strict=False):
        wanted.append(need and _is_on_the_way(nodes[place][0]))
        place += isinstance(value, Tensor)
    return wanted


def _is_on_the_way(node) -> bool:
    leaf = type(node) is _LEAF
    if leaf and _C._current_graph_task_id() == getattr(_pass, "with_leaves", None):
        return True
    try:
        return _C._will_engine_execute_node(node)
    except RuntimeError:  # what torch says of a leaf that was asked for; and of another engine than its own
        if leaf:
            _pass.with_leaves = _C._current_graph_task_id()
        return True


def allocate(like: Tensor, wanted: bool = True) -> Tensor:
    """An uninitialised tensor of the shape of `like`, without elements if it is not wanted."""
    return like.new_empty(like.shape if wanted else 0)


def contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def keep_wanted(results: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """The results that were wanted, None for the others: what a backward returns to autograd."""
    return [result if want else None for result, want in zip(results, wanted, strict=True)]


@functools.lru_cache(maxsize=4096)
def integers(values: tuple[int, ...]) -> Tensor:
    """Integers as an array that a kernel can read."""
    return torch.tensor(values, dtype=torch.int64, device="cpu")

"""The same map with the same weights as e3nn: values, values and gradients, and two kinds of force step."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from equitensor.bench.products import natural
from equitensor.nn import Convolution, Interaction

NEIGHBORS = 20
UVU = ((1, 64), (2, 64), (3, 64), (4, 64), (1, 128), (2, 128))  # (lmax, channels)
UUU = ((1, 64), (2, 64), (3, 64), (4, 64))
UVW = ((1, 32), (2, 32), (3, 16))


def compare_with_e3nn(edges: int = 20000, items: int = 1000, rounds: int = 5) -> list[dict]:
    """Rows of case, task, and milliseconds (medians, all candidates in turn) with ratios to e3nn's.

    uvu: messages x_j (x) Y_ij with weights per edge and their sum at the receiver, 20 edges a node; uuu: of two
    features of `items` atoms, weights shared or of each item; uvw: `items` / 10, shared weights. float32.
    """
    rows = []
    for lmax, channels in UVU:
        count = edges if lmax < 4 and channels == 64 else edges // 4
        rows += _rows(
            f"uvu, lmax {lmax}, {channels} channels, {count} edges", uvu_candidates(lmax, channels, count), rounds
        )
    for lmax, channels in UUU:
        for own in (False, True):
            whose = "of each item" if own else "shared"
            case = f"uuu, lmax {lmax}, {channels} channels, {items} items, weights {whose}"
            rows += _rows(case, _uuu(lmax, channels, items, own), rounds)
    for lmax, channels in UVW:
        case = f"uvw, lmax {lmax}, {channels} channels, {items // 10} items"
        rows += _rows(case, _uvw(lmax, channels, items // 10), rounds)
    return rows


def uvu_candidates(lmax: int, channels: int, edges: int) -> tuple[dict, list[Tensor]]:
    """Name -> convolution of (x, y, w), and such operands: e3nn's product with gather and sum, and ours."""
    from equitensor.interfaces.e3nn import TensorProduct

    layer, edge_index = uvu_layer(lmax, channels, edges)
    nodes, (sender, receiver) = edges // NEIGHBORS, edge_index
    arguments = (layer.irreps_in, layer.irreps_edge, layer.irreps_out, layer.instructions)
    theirs, ours = _peer()(*arguments, shared_weights=False), TensorProduct(*arguments, shared_weights=False)

    def summed(product) -> Callable:
        def call(x, y, w):
            return x.new_zeros(nodes, layer.irreps_out.dim).index_add(0, receiver, product(x[sender], y, w))

        return call

    calls = {
        "e3nn": summed(theirs),
        "drop-in": summed(ours),
        "Convolution": lambda x, y, w: layer(x, y, w, edge_index),
    }
    return calls, uvu_operands(layer, edges)


def uvu_operands(layer: Convolution, edges: int) -> list[Tensor]:
    """x, y and w of `uvu_layer`."""
    rows = ((edges // NEIGHBORS, layer.irreps_in), (edges, layer.irreps_edge))
    return operands((*((count, irreps.dim) for count, irreps in rows), (edges, layer.weight_numel)))


def uvu_layer(lmax: int, channels: int, edges: int) -> tuple[Convolution, Tensor]:
    """Our convolution, of natural parities, and edges sorted by receiver."""
    wanted = "+".join(["0e", *(f"{l}e+{l}o" for l in range(1, lmax + 1))])
    layer = Convolution(natural(lmax, channels), natural(lmax, 1), wanted)
    generator = torch.Generator().manual_seed(0)
    sender, receiver = torch.randint(edges // NEIGHBORS, (2, edges), generator=generator)
    return layer, torch.stack([sender, receiver.sort().values])


def _uuu(lmax: int, channels: int, items: int, own: bool) -> tuple[dict, list[Tensor]]:
    from equitensor.interfaces.e3nn import TensorProduct

    irreps = natural(lmax, channels)
    layer = Interaction(irreps, irreps, irreps, internal_weights=False)
    arguments = (irreps, irreps, irreps, layer.instructions)
    calls: dict[str, Callable] = {}
    for name, product in (("e3nn", _peer()), ("drop-in", TensorProduct)):
        calls[name] = product(*arguments, shared_weights=not own, internal_weights=False)
    calls["Interaction"] = layer
    weights = (items, layer.weight_numel) if own else (layer.weight_numel,)
    return calls, operands(((items, layer.irreps_in1.dim), (items, layer.irreps_in1.dim), weights))


def _uvw(lmax: int, channels: int, items: int) -> tuple[dict, list[Tensor]]:
    from equitensor.interfaces.e3nn import FullyConnectedTensorProduct

    irreps, second = natural(lmax, channels), natural(lmax, 1)
    ours = FullyConnectedTensorProduct(irreps, second, irreps, internal_weights=False)
    theirs = _peer("FullyConnectedTensorProduct")(irreps, second, irreps, internal_weights=False)
    shapes = ((items, ours.irreps_in1.dim), (items, ours.irreps_in2.dim), (ours.weight_numel,))
    return {"e3nn": theirs, "drop-in": ours}, operands(shapes)


def _peer(name: str = "TensorProduct") -> type:
    from e3nn import o3

    return getattr(o3, name)


def operands(shapes: tuple) -> list[Tensor]:
    """Normal deviates that need gradients."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def _rows(case: str, candidates: tuple[dict, list[Tensor]], rounds: int) -> list[dict]:
    calls, inputs = candidates
    with torch.no_grad():
        results = {name: call(*inputs) for name, call in calls.items()}
    error = max(float((z - results["e3nn"]).norm() / results["e3nn"].norm()) for z in results.values())
    probe = torch.randn(results["e3nn"].shape, generator=torch.Generator().manual_seed(2))
    del results
    rows = []
    for task, run in TASKS.items():
        times = _medians({name: partial(run, call, inputs, probe) for name, call in calls.items()}, rounds)
        ratios = {name: round(times["e3nn"] / value, 2) for name, value in times.items() if name != "e3nn"}
        row = {"case": case, "task": task, "milliseconds": times, "times faster": ratios, "difference": error}
        rows.append(row)
    return rows


def values(call: Callable, inputs: list[Tensor], probe: Tensor) -> Tensor:
    """The product; `probe` is for those that take gradients."""
    return call(*inputs)


def gradients(call: Callable, inputs: list[Tensor], probe: Tensor, create_graph: bool = False) -> tuple:
    """The gradients of <probe, product> by every operand."""
    return torch.autograd.grad((call(*inputs) * probe).sum(), inputs, create_graph=create_graph)


def force_step(call: Callable, inputs: list[Tensor], probe: Tensor) -> tuple:
    """The gradient, and the gradient of its product with the operands' own values as those of a loss."""
    first = gradients(call, inputs, probe, create_graph=True)
    return torch.autograd.grad(first, inputs, [t.detach() for t in inputs])


def harmonics_step(call: Callable, inputs: list[Tensor], probe: Tensor) -> tuple:
    """A loss of forces with F = d|z|^2/dy: the gradients of |F|^2, which only y leads to, by every operand."""
    (force,) = torch.autograd.grad((call(*inputs) ** 2).sum(), inputs[1], create_graph=True)
    return torch.autograd.grad((force**2).sum(), inputs)


TASKS: dict[str, Callable[..., object]] = {
    "values": values,
    "values + gradients": gradients,
    "force step": force_step,
    "harmonics step": harmonics_step,
}


def _medians(candidates: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time of this thread's process: other work on the machine counts less than by clock."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, call in candidates.items():
            began = time.process_time()
            call()
            if turn:
                times[name].append(1e3 * (time.process_time() - began))
    return {name: round(statistics.median(samples), 3) for name, samples in times.items()}

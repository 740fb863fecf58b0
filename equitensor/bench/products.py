"""The tensor products as layers: ours, and the same map by e3nn with the same weights."""

import torch
from torch import Tensor

from equitensor.bench.rounds import medians
from equitensor.nn import Convolution, Interaction

NODES, NEIGHBORS = 64, 24
SIZES = ((2, 64), (3, 32))  # (lmax, channels)


def time_products(dtype=torch.float32, rounds: int = 20) -> dict[str, dict[str, float]]:
    """Case -> milliseconds of each candidate, forward and backward. "e3nn" is the map of "cg"; "gaunt" is another."""
    timed = {}
    for lmax, channels in SIZES:
        for name, build in (("interaction", _interactions), ("convolution", _convolutions)):
            candidates = build(lmax, channels, dtype)
            timed[f"{name}, lmax {lmax}, {channels} channels"] = medians(candidates, rounds)
    return timed


def natural(lmax: int, channels: int) -> str:
    """The irreps of `channels` true signals up to degree lmax: 0e + 1o + 2e + ..."""
    return "+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(lmax + 1))


def _interactions(lmax, channels, dtype):
    from e3nn import o3

    irreps = natural(lmax, channels)
    x, y = (torch.randn(NODES, o3.Irreps(irreps).dim, dtype=dtype, requires_grad=True) for _ in range(2))
    layers = {product: Interaction(irreps, irreps, irreps, product).to(dtype) for product in ("cg", "gaunt")}
    peer = o3.TensorProduct(irreps, irreps, irreps, layers["cg"].instructions).to(dtype)
    calls = {product: lambda layer=layer: layer(x, y) for product, layer in layers.items()}
    return _with_backward({**calls, "e3nn": lambda: peer(x, y)}, [x, y])


def _convolutions(lmax, channels, dtype):
    from e3nn import o3

    irreps, edge = natural(lmax, channels), natural(lmax, 1)
    sender = torch.randint(NODES, (NODES * NEIGHBORS,))
    receiver = torch.arange(NODES).repeat_interleave(NEIGHBORS)
    edge_index = torch.stack([sender, receiver])
    x = torch.randn(NODES, o3.Irreps(irreps).dim, dtype=dtype, requires_grad=True)
    harmonics = torch.randn(len(sender), o3.Irreps(edge).dim, dtype=dtype, requires_grad=True)
    calls, inputs = {}, [x, harmonics]
    for product in ("cg", "gaunt"):
        layer = Convolution(irreps, edge, irreps, product).to(dtype)
        weight = torch.randn(len(sender), layer.weight_numel, dtype=dtype, requires_grad=True)
        calls[product] = lambda layer=layer, weight=weight: layer(x, harmonics, weight, edge_index)
        if product == "cg":
            peer = o3.TensorProduct(
                irreps, edge, layer.irreps_out, layer.instructions, shared_weights=False, internal_weights=False
            ).to(dtype)

            def by_e3nn(peer=peer, weight=weight) -> Tensor:
                messages = peer(x[sender], harmonics, weight)
                return messages.new_zeros(NODES, messages.shape[1]).index_add(0, receiver, messages)

    calls["e3nn"] = by_e3nn
    return _with_backward(calls, inputs)


def _with_backward(calls, inputs):
    """Each call followed by the gradients of its sum by the inputs."""
    return {name: lambda call=call: torch.autograd.grad(call().sum(), inputs) for name, call in calls.items()}

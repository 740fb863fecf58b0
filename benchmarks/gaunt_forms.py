"""The Gaunt product in its three forms, and the convolution with and without harmonics of the edges.

    .venv/bin/python benchmarks/gaunt_forms.py --lmax 1 2 3 4 6 8 10 --rounds 20

Milliseconds of values, of values and gradients, and of a force step (the gradient, then the gradients of a number
made from it), all forms in turn, medians. The three forms of a row are one map with the same values.
"""

import argparse
from pathlib import Path

import torch
from environment import RESULTS, append, environment

from equitensor.bench.products import natural
from equitensor.bench.rounds import medians
from equitensor.nn import Convolution, Interaction, ZonalConvolution
from equitensor.nn.harmonics import SphericalHarmonics

FORMS = ("grid", "fourier", "direct")
NEIGHBORS = 24


def main() -> None:
    """Time every case, print it, and append all to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    cases = {}
    for lmax in options.lmax:
        for name, build in (("even", even), ("all", all_paths), ("convolution", convolutions)):
            if name in options.cases:
                candidates, inputs = build(lmax, options, dtype)
                cases[f"{name}, lmax {lmax}"] = measure(candidates, inputs, options.rounds)
                report(f"{name}, lmax {lmax}", cases[f"{name}, lmax {lmax}"])
    sizes = {"channels": options.channels, "nodes": options.nodes, "edges": options.nodes * NEIGHBORS}
    append({"environment": environment(options.dtype), "note": options.note, **sizes, "ms": cases}, options.out)


def even(lmax: int, options, dtype) -> tuple[dict, list]:
    """x (x) y in true signals, the paths of the Gaunt product alone."""
    irreps = natural(lmax, options.channels)
    return interactions((irreps, irreps, irreps), "even", options, dtype)


def all_paths(lmax: int, options, dtype) -> tuple[dict, list]:
    """The same operands, to true and pseudo signals."""
    irreps = natural(lmax, options.channels)
    pseudo = "+".join(f"{options.channels}x{l}{'oe'[l % 2]}" for l in range(1, lmax + 1))
    return interactions((irreps, irreps, f"{irreps}+{pseudo}"), "all", options, dtype)


def interactions(irreps: tuple, paths: str, options, dtype) -> tuple[dict, list]:
    """Form -> function of x and y, with one set of weights."""
    layers = {
        form: Interaction(*irreps, "gaunt", layout="channels_last", paths=paths, form=form).to(dtype) for form in FORMS
    }
    for layer in layers.values():
        layer.load_state_dict(layers["grid"].state_dict())
    d = sum(ir.dim for _, ir in layers["grid"].irreps_in1)
    inputs = [torch.randn(options.nodes, d, options.channels, dtype=dtype, requires_grad=True) for _ in range(2)]
    return layers, inputs


def convolutions(lmax: int, options, dtype) -> tuple[dict, list]:
    """From edge vectors: through their harmonics and `Convolution` in each form, and `ZonalConvolution`."""
    irreps, edge = natural(lmax, options.channels), natural(lmax, 1)
    edges = options.nodes * NEIGHBORS
    receiver = torch.arange(options.nodes).repeat_interleave(NEIGHBORS)
    edge_index = torch.stack([torch.randint(options.nodes, (edges,)), receiver])
    harmonics = SphericalHarmonics(lmax).to(dtype)
    zonal = ZonalConvolution(irreps, edge, irreps).to(dtype)
    shapes = ((options.nodes, zonal.irreps_in.dim), (edges, 3), (edges, zonal.weight_numel))
    inputs = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    calls = {"zonal": lambda x, vec, weight: zonal(x, vec, weight, edge_index)}
    for form in FORMS[:1] if lmax > options.largest_convolution else FORMS:
        layer = Convolution(irreps, edge, irreps, "gaunt", form=form).to(dtype)
        layer.load_state_dict(zonal.state_dict())

        def call(x, vec, weight, layer=layer):
            return layer(x, harmonics(torch.nn.functional.normalize(vec, dim=1)), weight, edge_index)

        calls[form] = call
    return calls, inputs


def measure(functions: dict, inputs: list, rounds: int) -> dict[str, dict[str, float]]:
    """Values, gradients and force step of each function, after a check that all give the same values."""
    expected = next(iter(functions.values()))(*inputs).detach()
    for name, function in functions.items():
        error = float((function(*inputs).detach() - expected).abs().max() / expected.abs().max())
        if not error < (1e-4 if expected.dtype == torch.float32 else 1e-11):
            raise SystemExit(f"{name} differs from the others by {error:.1e}")
    steps = {"values": values, "gradients": gradients, "force step": force_step}
    return {
        name: medians({form: lambda f=f, step=step: step(f, inputs) for form, f in functions.items()}, rounds)
        for name, step in steps.items()
    }


def values(function, inputs: list) -> torch.Tensor:
    """One call without a graph."""
    with torch.no_grad():
        return function(*inputs)


def gradients(function, inputs: list) -> tuple:
    """One call and the gradient of half its square sum."""
    return torch.autograd.grad(function(*inputs).square().sum() / 2, inputs)


def force_step(function, inputs: list) -> tuple:
    """One call, its gradient, and the gradient of that gradient's half square sum."""
    first = torch.autograd.grad(function(*inputs).square().sum() / 2, inputs, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first) / 2, inputs)


def report(case: str, times: dict) -> None:
    """One line per step."""
    for step, row in times.items():
        print(f"{case:24s} {step:11s}", *(f"{name} {ms:8.3f} ms " for name, ms in row.items()), flush=True)


def arguments() -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lmax", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8, 10])
    parser.add_argument("--cases", nargs="+", default=["even", "all", "convolution"])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--largest-convolution", type=int, default=3, help="above, the FFT on every edge is left out")
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path, default=RESULTS / "gaunt_forms.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()

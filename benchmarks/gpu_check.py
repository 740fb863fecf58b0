"""The CUDA kernels on a real GPU: errors against float64 on the CPU, then times beside the peers that are installed.

Every kernel is first checked again, as at first use: on streams, from other devices, in a CUDA graph.

Needs a GPU, torch built for it, and CuPy (pip install equitensor[cuda13]). Peers: e3nn, cuEquivariance (with its
kernels), OpenEquivariance. Writes one JSON file with the device and all versions.
"""

import argparse
import contextlib
import functools
import os
import statistics
import sys
from importlib import metadata
from pathlib import Path

import torch
from environment import RESULTS, environment, write

from equitensor.bench.products import natural
from equitensor.nn import Convolution, Interaction
from equitensor.nn.density_product import DensityInvariants, DensityProduct
from equitensor.ops import cuda
from equitensor.ops.cuda import module
from equitensor.ops.cuda.proof import BOUNDS
from equitensor.ops.cuda.verdict import VARIABLE
from equitensor.ops.edge_form import gather_edges, read_edges

CASES = ((1, 64), (1, 128), (2, 64), (2, 128), (3, 64))  # (lmax, channels)
PEERS = ("e3nn", "cuequivariance-torch", "cuequivariance-ops-torch-cu13", "openequivariance", "cupy-cuda13x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--edges", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    arguments = parser.parse_args()
    if reason := cuda.why_not():
        sys.exit(f"gpu_check: nothing to check: {reason}")
    cases = [(name, *case) for case in CASES[:3] for name in LAYERS] + [("convolution", *c) for c in CASES[3:]]
    os.environ[VARIABLE] = "always"
    report = survey(cases, "cuda")
    for row in report["wrong"]:
        print(f"WRONG {row}")
    times = [] if report["wrong"] else [row for case in CASES for row in time_case(*case, arguments)]
    versions = {name: version for name in PEERS if (version := _version(name))}
    about = {**environment("float32"), "cuda": torch.version.cuda, "peers": versions}
    write({**about, **report, "times": times}, arguments.out)
    checked = len(report["errors"]) + len(report["proofs"])
    sys.exit(f"gpu_check: {len(report['wrong'])} of {checked} are wrong: no times were taken" if report["wrong"] else 0)


def survey(cases: list, device: str, dtypes: tuple = tuple(BOUNDS), kernels=contextlib.nullcontext) -> dict:
    """Errors of results, proofs of the kernels that these took, and the rows of both that are wrong.

    kernels: a context in which the device's kernels compute, for devices that are none.
    """
    module.verdicts.clear()
    errors = [row for case in cases for dtype in dtypes for row in check(*case, dtype, device, kernels)]
    proofs = [{k: v for k, v in verdict._asdict().items() if k not in ("key", "code")} for verdict in module.verdicts]
    wrong = [row for row in errors if not row["error"] <= row["tolerance"]]
    wrong += [row for row in proofs if row["refused"] or row["not_in_graphs"]]
    return {"errors": errors, "proofs": proofs, "wrong": wrong}


def check(layer: str, lmax: int, channels: int, dtype: torch.dtype, device: str, kernels) -> list[dict]:
    """Relative errors of values, first and second derivatives, few edges; the CPU computes in float64."""
    on_gpu, again = (results(layer, lmax, channels, dtype, device, kernels) for _ in range(2))
    exact = results(layer, lmax, channels, torch.float64, "cpu")
    rows = []
    for name, value in on_gpu.items():
        error = float((value.cpu().double() - exact[name]).abs().max() / exact[name].abs().max().clamp(min=1e-30))
        row = {
            "case": f"{layer}, lmax {lmax}, {channels} channels",
            "dtype": str(dtype),
            "result": name,
            "error": error,
        }
        rows.append({**row, "tolerance": BOUNDS[dtype], "repeats": torch.equal(value, again[name])})
    return rows


def results(
    layer: str, lmax: int, channels: int, dtype: torch.dtype, device: str, kernels=contextlib.nullcontext
) -> dict[str, torch.Tensor]:
    """Values, gradients and their gradients of one layer, built alike on every device."""
    torch.manual_seed(0)
    function, inputs, constants = LAYERS[layer](lmax, channels)
    if isinstance(function, torch.nn.Module):
        function = function.to(device, dtype)
    inputs = [t.to(device, dtype).requires_grad_(True) for t in inputs]
    with kernels():
        z = function(*inputs, *(t.to(device) for t in constants))
        first = torch.autograd.grad(z.square().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(t.square().sum() for t in first), inputs)
    named = {"z": z, **{f"d{n}": t for n, t in enumerate(first)}, **{f"dd{n}": t for n, t in enumerate(second)}}
    return {name: t.detach() for name, t in named.items()}


def _convolution(lmax: int, channels: int) -> tuple:
    conv, inputs, edges = _problem(lmax, channels, 50, 700, torch.float64)
    return conv, inputs, (edges,)


def _density(kind: type, lmax: int, channels: int) -> tuple:
    layer, x = (
        kind(3, lmax, channels, 3, "cg").double(),
        torch.randn(50, (lmax + 1) ** 2, channels, dtype=torch.float64),
    )
    return layer, (x,), (torch.arange(50) % 3,)


def _interaction(lmax: int, channels: int, product: str, **options) -> tuple:
    irreps = natural(lmax, channels)
    layer = Interaction(irreps, irreps, irreps, product, **options).double()
    return layer, torch.randn(2, 50, layer.irreps_out.dim, dtype=torch.float64).unbind(0), ()


def _edges(function, lmax: int, channels: int) -> tuple:
    atoms, width, d = 30, 12, (lmax + 1) ** 2
    harmonics, rows = torch.randn(atoms, width, d), torch.randn(2, atoms * width, channels)
    if function is gather_edges:
        return function, (harmonics.double(), *rows.double().unbind(0)), ()
    features = torch.randn(atoms, d, channels)
    return function, (harmonics.double(), features.double(), rows[0].double()), (torch.arange(atoms * width).flip(0),)


LAYERS = {
    "convolution": _convolution,
    "density product": functools.partial(_density, DensityProduct),
    "density invariants": functools.partial(_density, DensityInvariants),
    "gaunt product": functools.partial(_interaction, product="gaunt"),
    "uuu product": functools.partial(_interaction, product="cg", form="paths"),
    "edge sums": functools.partial(_edges, gather_edges),
    "edge read-out": functools.partial(_edges, read_edges),
}


def time_case(lmax: int, channels: int, arguments) -> list[dict]:
    """Milliseconds of forward, forward + backward, and a force step, all candidates in turn; memory of the forward."""
    conv, inputs, edges = _problem(lmax, channels, arguments.nodes, arguments.edges, torch.float32)
    conv, edges = conv.cuda(), edges.cuda()
    inputs = [t.detach().cuda().requires_grad_(True) for t in inputs]
    calls = {"equitensor": lambda: conv(*inputs, edges), **_peers(conv, inputs, edges)}
    rows = []
    for task, step in (("forward", 0), ("forward + backward", 1), ("force step", 2)):
        steps = {name: (lambda call=call, step=step: _step(call, inputs, step)) for name, call in calls.items()}
        times = _medians(steps, arguments.rounds)
        rows.append({"case": f"lmax {lmax}, {channels} channels", "task": task, "ms": times})
        print(rows[-1], flush=True)
    for name, call in calls.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        rows[0].setdefault("mib", {})[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return rows


def _step(call, inputs: list, order: int) -> None:
    with torch.set_grad_enabled(order > 0):
        value = call()
    if order == 1:
        torch.autograd.grad(value.square().sum(), inputs)
    if order == 2:
        (force,) = torch.autograd.grad(value.square().sum(), inputs[1], create_graph=True)
        torch.autograd.grad(force.square().sum(), inputs)


def _problem(lmax: int, channels: int, nodes: int, edges: int, dtype: torch.dtype):
    """The layer; x, y, w; edges sorted by receiver."""
    generator = torch.Generator().manual_seed(0)
    conv = Convolution(natural(lmax, channels), natural(lmax, 1), natural(lmax, channels)).to(dtype)
    index = torch.randint(nodes, (2, edges), generator=generator)
    index = index[:, index[1].argsort(stable=True)]
    widths = ((nodes, conv.irreps_in.dim), (edges, conv.irreps_edge.dim), (edges, conv.weight_numel))
    return conv, [torch.randn(shape, generator=generator, dtype=dtype) for shape in widths], index


def _peers(conv: Convolution, inputs: list, edges: torch.Tensor) -> dict:
    """The same layer by whatever is installed; cuEquivariance orders its weights in its own way."""
    peers = {}
    for name, build in (("e3nn", _e3nn), ("cuequivariance", _cuequivariance), ("openequivariance", _openequivariance)):
        try:
            peers[name] = build(conv, inputs, edges)
            peers[name]()
        except Exception as error:  # a peer that does not work here must not stop the others
            peers.pop(name, None)
            print(f"{name} is left out: {type(error).__name__}: {error}")
    return peers


def _e3nn(conv: Convolution, inputs: list, edges: torch.Tensor):
    from e3nn import o3

    irreps = (conv.irreps_in, conv.irreps_edge, conv.irreps_out)
    product = o3.TensorProduct(*irreps, conv.instructions, shared_weights=False, internal_weights=False).cuda()
    x, y, w = inputs

    def call():
        return x.new_zeros(len(x), conv.irreps_out.dim).index_add(0, edges[1], product(x[edges[0]], y, w))

    return call


def _cuequivariance(conv: Convolution, inputs: list, edges: torch.Tensor):
    import cuequivariance as cue
    import cuequivariance_torch as cuet

    spaces = [cue.Irreps("O3", str(irreps)) for irreps in (conv.irreps_in, conv.irreps_edge)]
    wanted = [ir for _, ir in cue.Irreps("O3", str(conv.irreps_out))]
    product = cuet.ChannelWiseTensorProduct(
        *spaces, wanted, layout=cue.ir_mul, shared_weights=False, internal_weights=False, device="cuda"
    )
    x, y, w = inputs
    sender, receiver = (t.to(torch.int32) for t in edges)
    return lambda: product(x, y, w, indices_1=sender, indices_out=receiver, size_out=len(x))


def _openequivariance(conv: Convolution, inputs: list, edges: torch.Tensor):
    import openequivariance as oeq

    irreps = [oeq.Irreps(str(irreps)) for irreps in (conv.irreps_in, conv.irreps_edge, conv.irreps_out)]
    problem = oeq.TPProblem(*irreps, conv.instructions, shared_weights=False, internal_weights=False)
    sender, receiver = edges
    order = sender.argsort(stable=True)
    product = oeq.TensorProductConv(problem, deterministic=True)
    return lambda: product(*inputs, receiver, sender, order)


def _medians(calls: dict, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(rounds + 3):
        for name, call in calls.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            if n >= 3:
                times[name].append(begin.elapsed_time(end))
    return {name: statistics.median(taken) for name, taken in times.items()}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()

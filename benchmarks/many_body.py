"""Many-body products beside MACE's symmetric contraction, in an environment that has mace (benchmarks/README.md).

    .venv-mace/bin/python benchmarks/many_body.py same --lmax 1 2 3 --rounds 10
    .venv-mace/bin/python benchmarks/many_body.py gaunt --lmax 1 2 3 4 5 --nodes 32 --steps values

"same": one map with the same weights, MACE's class and `equitensor.interfaces.mace.SymmetricContraction`; beside them
`ManyBody` "cg", whose paths span the same products. "gaunt": MACE's class and `ManyBody` in all families, which are
different maps: "gaunt" and "cp" have one path per order and output. Our "cg" is on the core where that is loaded
(the result names the instruction set), in plain torch with EQUITENSOR_NO_EXT=1. Milliseconds of values, of values and
gradients, and of a force step (the gradient w.r.t. x, then the gradients of a scalar made from it), all in turn,
medians.
"""

import argparse
import warnings
from pathlib import Path

import torch
from environment import RESULTS, append, environment

from equitensor import core
from equitensor.bench.products import natural
from equitensor.bench.rounds import medians
from equitensor.interfaces.mace import SymmetricContraction, coupling_tensor
from equitensor.nn import ManyBody
from equitensor.o3 import as_irreps
from equitensor.ops import availability

PUBLISHED = {1: 2.3, 2: 2.8, 3: 3.1, 4: 3.6, 5: 5.1}  # Gaunt many-body against MACE's contraction, nu = 3, GPU
CORRELATION = 3


def main() -> None:
    """Time every case, print it, and append all to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, options.dtype))
    cases = {}
    for lmax in options.lmax:
        for l_out in sorted({min(l, lmax) for l in (options.out or [0, 1, lmax])}):
            name = f"lmax {lmax}, out to {l_out}"
            cases[name] = measure(*candidates(lmax, l_out, options), options)
            report(name, cases[name], f"published {PUBLISHED.get(lmax)}x" if options.case == "gaunt" else "")
    sizes = {name: getattr(options, name) for name in ("channels", "nodes", "elements")}
    kernels = availability.WHY_NOT or core.instruction_set()
    result = {"environment": environment(options.dtype), "case": options.case, "note": options.note, **sizes}
    result["kernels"] = kernels
    append(result | {"correlation": CORRELATION, "ms": cases, "published": PUBLISHED}, options.out_file)


def candidates(lmax: int, l_out: int, options) -> tuple[dict, torch.Tensor]:
    """Name -> (function of x, its weights), x as MACE has it: (nodes, channels, d)."""
    irreps, out = natural(lmax, options.channels), natural(l_out, options.channels)
    index = torch.arange(options.nodes) % options.elements
    attributes = torch.nn.functional.one_hot(index, options.elements).to(torch.get_default_dtype())
    theirs = mace_contraction(irreps, out, options.elements)
    calls = {"mace": (lambda x: theirs(x, attributes), trained(theirs))}
    if options.case == "same":
        ours = SymmetricContraction(irreps, out, CORRELATION, num_elements=options.elements)
        ours.load_state_dict(theirs.state_dict())
        calls["drop-in"] = (lambda x: ours(x, attributes), trained(ours))
    for product in ("cg",) if options.case == "same" else ("cg", "gaunt", "cp"):
        layer = ManyBody(irreps, out, CORRELATION, options.elements, product, layout="channels_last")
        calls[product] = (lambda x, layer=layer: layer(x.transpose(1, 2), index), trained(layer))
    x = torch.randn(options.nodes, options.channels, (lmax + 1) ** 2, requires_grad=True)
    return calls, x


def mace_contraction(irreps: str, out: str, elements: int) -> torch.nn.Module:
    """MACE's module; its coupling tensors by our code where e3nn 0.4.4 has not the degrees for them (lmax > 3)."""
    as_irreps("0e")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mace.modules import symmetric_contraction as mace

    def by_us(irreps_in, irreps_out, correlation, dtype, **_) -> list:
        return [coupling_tensor(tuple(ir for _, ir in irreps_in), irreps_out[0].ir, correlation).to(dtype)]

    before = mace.U_matrix_real
    if as_irreps(irreps).lmax > 3:
        mace.U_matrix_real = by_us
    try:
        return mace.SymmetricContraction(as_irreps(irreps), as_irreps(out), CORRELATION, num_elements=elements)
    finally:
        mace.U_matrix_real = before


def trained(module: torch.nn.Module) -> list:
    """The parameters that training would change."""
    return [p for p in module.parameters() if p.requires_grad]


def measure(functions: dict, x: torch.Tensor, options) -> dict[str, dict[str, float]]:
    """Each step of each function, after a check that the drop-in gives MACE's values in every one."""
    steps = {"values": values, "gradients": gradients, "force step": force_step}
    for step in options.steps if "drop-in" in functions else ():
        expected, actual = (by_x(steps[step](f, x, w)) for f, w in (functions["mace"], functions["drop-in"]))
        error = float((actual - expected).abs().max() / expected.abs().max())
        if not error < (1e-4 if x.dtype == torch.float32 else 1e-11):
            raise SystemExit(f"{step}: the drop-in differs from MACE by {error:.1e}")
    return {
        name: medians(
            {key: lambda f=f, w=w, step=steps[name]: step(f, x, w) for key, (f, w) in functions.items()}, options.rounds
        )
        for name in options.steps
    }


def by_x(output: torch.Tensor | tuple) -> torch.Tensor:
    """The values, or of the gradients that by x."""
    return (output[0] if isinstance(output, tuple) else output).detach()


def values(function, x: torch.Tensor, _) -> torch.Tensor:
    """One call without a graph."""
    with torch.no_grad():
        return function(x)


def gradients(function, x: torch.Tensor, weights: list) -> tuple:
    """One call and the gradient of half its square sum."""
    return torch.autograd.grad(function(x).square().sum() / 2, [x, *weights])


def force_step(function, x: torch.Tensor, weights: list) -> tuple:
    """One call, its gradient w.r.t. x, and the gradient of that gradient's half square sum."""
    (first,) = torch.autograd.grad(function(x).square().sum() / 2, [x], create_graph=True)
    return torch.autograd.grad(first.square().sum() / 2, [x, *weights], allow_unused=True)


def report(case: str, times: dict, remark: str) -> None:
    """One line per step: milliseconds and MACE's time over it."""
    for step, row in times.items():
        columns = [f"{name} {ms:9.3f} ({row['mace'] / ms:6.2f}x)" for name, ms in row.items()]
        print(f"{case:20s} {step:11s}", *columns, remark, flush=True)


def arguments() -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=["same", "gaunt"])
    parser.add_argument("--lmax", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=int, nargs="+", help="highest degree of the output: 0, 1 and lmax by default")
    parser.add_argument("--steps", nargs="+", default=["values", "gradients", "force step"])
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--elements", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--note", default="")
    parser.add_argument("--out-file", type=Path, default=RESULTS / "many_body.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()

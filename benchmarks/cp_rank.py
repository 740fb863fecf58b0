"""CP decompositions of all couplings up to lmax: rank against coupling error and equivariance error, in float64.

    .venv/bin/python benchmarks/cp_rank.py          # ten minutes of one thread; --quick: without fits, which stay
    .venv/bin/python benchmarks/cp_rank.py --show benchmarks/results/cp_rank.json

The tensor is that of Tensor Decomposition Networks: the sum of the Wigner 3j of all paths, each of Frobenius norm one,
no path weights, every irrep taken as even; their rank is 7 lmax^2. Their fit minimises the error of outputs for normal
x and for y a normal number times the harmonics of a random direction: the column "output error" measures just that.
The second table is the largest change of a layer's output, against the turned output, over rotations and inversions.
"""

import argparse
import json
from pathlib import Path

import torch
from environment import RESULTS, environment, write

from equitensor import nn
from equitensor.o3 import CPFactors, as_irreps, fit_cp, random_rotation, representation, spherical_harmonics
from equitensor.o3.cp import all_degrees, assemble, path_tensors
from equitensor.o3.cp_cyclic import fit_from_cyclic
from equitensor.o3.cp_fit import cancellation, relative_error
from equitensor.o3.cp_grid import default_product
from equitensor.o3.cp_search import RIDGE
from equitensor.o3.cp_table import UNIT_RANKS, chosen_factors, factors_of_rank

# lmax -> ranks below and between the shipped ones, starts and steps of their fits
CURVE = {1: ((4, 5, 6), 6, 300), 2: ((12, 16, 20, 26, 27), 6, 200), 3: ((32, 48, 56), 4, 60)}
SYMMETRIC = {32: 8, 48: 15, 56: 17}  # terms a a a of the cyclic fits at lmax 3
SAMPLES = 20_000
PRODUCTS = ("cg", "gaunt", "cp")
EDGES = torch.tensor([[0, 0, 2, 4, 4, 1], [1, 2, 0, 0, 2, 3]])


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure the shipped factors and defaults anew, no fits")
    parser.add_argument("--show", type=Path, help="print the tables of this result file and do nothing else")
    parser.add_argument("--out", type=Path, default=RESULTS / "cp_rank.json")
    options = parser.parse_args()
    if options.show:
        print(tables(json.loads(options.show.read_text())))
        return
    torch.set_num_threads(1)
    earlier = json.loads(options.out.read_text())["ranks"] if options.quick and options.out.exists() else []
    ranks = [row for lmax in UNIT_RANKS for row in rows(lmax, not options.quick, earlier)]
    result = {"environment": environment("float64"), "ranks": ranks, "defaults": defaults()}
    write(result, options.out)
    print(tables(result))


def rows(lmax: int, fits: bool, earlier: list[dict]) -> list[dict]:
    """One row per rank of the unit tensor, then the exact products with path weights near one."""
    measured = [each for each in earlier if each["lmax"] == lmax and each["source"] == "fitted here"]
    measured += [row(lmax, factors_of_rank(lmax, rank), "shipped") for rank in UNIT_RANKS[lmax]]
    if fits:
        ranks, starts, steps = CURVE[lmax]
        for rank in ranks:
            measured.append(row(lmax, fit(lmax, rank, starts, steps), "fitted here"))
            print(measured[-1], flush=True)
    measured.sort(key=lambda each: each["rank"])
    if lmax < 3:
        return [*measured, row(lmax, chosen_factors(lmax), "path weights chosen")]
    made = default_product(*all_degrees(lmax))
    return [*measured, row(lmax, CPFactors.measure(made[:3], all_degrees(lmax), made.path_weights), made.source)]


def fit(lmax: int, rank: int, starts: int, steps: int) -> CPFactors:
    """The better of a few starts; at lmax 3 starts with the cyclic symmetry of the tensor, which are quicker."""
    if lmax < 3:
        return fit_cp(lmax, rank, starts=starts, steps=steps, ridge=RIDGE)
    target = path_tensors(*all_degrees(lmax)).sum(0)
    tried = [fit_from_cyclic(target, rank, SYMMETRIC[rank], seed, RIDGE, steps) for seed in range(starts)]
    return CPFactors.measure(min(tried, key=lambda factors: relative_error(factors, target)), all_degrees(lmax))


def row(lmax: int, factors: CPFactors, source: str) -> dict:
    matrices = (factors.a, factors.b, factors.c)
    weights = factors.path_weights.abs()
    return {
        "lmax": lmax,
        "rank": factors.rank,
        "source": source,
        "published_rank": factors.rank == 7 * lmax**2,
        "coupling_error": factors.coupling_error,
        "equivariance_error": factors.equivariance_error,
        "output_error": output_error(lmax, factors),
        "cancellation": round(cancellation(matrices), 1),
        "path_weights": [round(float(weights.min()), 3), round(float(weights.max()), 3)],
    }


def output_error(lmax: int, factors: CPFactors) -> float:
    """Root mean square error of outputs over that of outputs: x normal, y a normal number times Y(direction)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, (lmax + 1) ** 2, generator=generator, dtype=torch.float64)
    directions = torch.randn(SAMPLES, 3, generator=generator, dtype=torch.float64)
    y = spherical_harmonics(lmax, directions / directions.norm(dim=1, keepdim=True))
    y = y * torch.randn(SAMPLES, 1, generator=generator, dtype=torch.float64)
    exact = torch.tensordot(factors.path_weights, path_tensors(*factors.irreps), 1)
    tensor = assemble(factors.a, factors.b, factors.c)
    z, off = (torch.einsum("nj,njk->nk", y, torch.einsum("ni,ijk->njk", x, t)) for t in (exact, tensor))
    return float((off - z).norm() / z.norm())


def defaults() -> list[dict]:
    """Relative equivariance error of every family's default, in every operation that there is."""
    rows = []
    for lmax in UNIT_RANKS:
        for product in PRODUCTS:
            natural = "+".join(f"4x{l}{'eo'[l % 2]}" for l in range(lmax + 1))
            both = natural + "".join(f"+4x{l}{'oe'[l % 2]}" for l in range(lmax + 1))
            errors = operations(product, natural if product == "gaunt" else both, lmax)
            rows.append({"lmax": lmax, "product": product, **errors})
    return rows


def operations(product: str, irreps: str, lmax: int) -> dict:
    torch.manual_seed(0)
    edge = "+".join(f"{l}{'eo'[l % 2]}" for l in range(lmax + 1))
    layer = nn.Interaction(irreps, irreps, irreps, product=product).double()
    conv = nn.Convolution(irreps, edge, irreps, product=product).double()
    weight = torch.randn(EDGES.shape[1], conv.weight_numel, dtype=torch.float64)
    errors = {
        "interaction": equivariance(layer, [(5, irreps), (5, irreps)], irreps),
        "convolution": equivariance(
            lambda x, y: conv(x, y, weight, EDGES), [(5, irreps), (EDGES.shape[1], edge)], conv.irreps_out
        ),
    }
    if hasattr(nn, "ManyBody"):
        many = nn.ManyBody(irreps, irreps, 3, 2, product=product).double()
        elements = torch.tensor([0, 1, 1, 0, 1])
        errors["many-body"] = equivariance(lambda x: many(x, elements), [(5, irreps)], irreps)
    return errors


@torch.no_grad()
def equivariance(function, inputs: list, irreps_out) -> float:
    """max |f(D x) - D f(x)| / max |f| over three rotations, three rotoinversions, on normal deviates."""
    generator = torch.Generator().manual_seed(1)
    x = [torch.randn(n, as_irreps(irreps).dim, generator=generator, dtype=torch.float64) for n, irreps in inputs]
    out, worst = function(*x), 0.0
    for number in range(6):
        rotation = random_rotation(generator, inversion=number % 2 == 1)
        turned = [t @ representation(as_irreps(irreps), rotation).T for t, (_, irreps) in zip(x, inputs, strict=True)]
        difference = function(*turned) - out @ representation(as_irreps(irreps_out), rotation).T
        worst = max(worst, float(difference.abs().max() / out.abs().max()))
    return worst


def tables(result: dict) -> str:
    """Both tables in Markdown."""
    lines = [
        "| lmax | rank | factors | path weights | coupling error | equivariance error | output error | cancellation |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in result["ranks"]:
        rank = f"**{each['rank']}** (TDN)" if each["published_rank"] and each["source"] == "shipped" else each["rank"]
        low, high = each["path_weights"]
        weights = "1" if low == high == 1 else f"{low:.2f} to {high:.2f}"
        errors = (f"{each[name]:.1e}" for name in ("coupling_error", "equivariance_error", "output_error"))
        lines.append(
            f"| {each['lmax']} | {rank} | {each['source']} | {weights} | {' | '.join(errors)} "
            f"| {each['cancellation']:.0f} |"
        )
    names = [name for name in result["defaults"][0] if name not in ("lmax", "product")]
    lines += ["", f"| lmax | product | {' | '.join(names)} |", "| --- | --- |" + " --- |" * len(names)]
    for each in result["defaults"]:
        cells = " | ".join(f"{each[name]:.1e}" for name in names)
        lines.append(f"| {each['lmax']} | {each['product']} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

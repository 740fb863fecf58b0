"""The pictures of docs/tensor-products.md: python docs/figures/tensor_products.py (benchmarks/cp_rank.py comes first).

Signals and nodes are drawn on the half of the sphere that faces the reader.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from equitensor.nn import Interaction
from equitensor.o3 import quadrature, spherical_harmonics

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
INK, ACCENT, LEAF, PALE = "#1f4e79", "#c0504d", "#4f7f3a", "0.75"
EXACT = 2.5e-4  # where the picture of errors shows those that are rounding
LMAX = 3
PIXELS = 260
COLOURS = colormaps["RdBu_r"].resampled(25)  # bands: contours to the eye, and small files
NATURAL = "+".join(f"1x{l}{'eo'[l % 2]}" for l in range(LMAX + 1))
PSEUDO = "+".join(f"1x{l}{'oe'[l % 2]}" for l in range(1, LMAX + 1))


def view() -> torch.Tensor:
    """Rows: right, up and towards the reader."""
    towards = torch.tensor([0.85, 0.5, 0.75], dtype=torch.float64)
    towards = towards / towards.norm()
    right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), towards)
    right = right / right.norm()
    return torch.stack([right, torch.linalg.cross(towards, right), towards])


def visible_points() -> tuple[torch.Tensor, np.ndarray]:
    """Unit vectors under the pixels of a disc, and the mask of the disc."""
    line = torch.linspace(-1, 1, PIXELS, dtype=torch.float64)
    across, up = torch.meshgrid(line, -line, indexing="xy")
    inside = across**2 + up**2 <= 1
    a, u = across[inside], up[inside]
    return torch.stack([a, u, (1 - a * a - u * u).clamp_min(0).sqrt()], dim=1) @ view(), inside.numpy()


def disc(axes, values, mask, title, nodes=None):
    """A signal on the visible half, blue below and red above zero."""
    image = np.full(mask.shape, np.nan)
    image[mask] = np.asarray(values)
    top = np.nanmax(np.abs(image))
    axes.imshow(image, extent=(-1, 1, -1, 1), cmap=COLOURS, vmin=-top, vmax=top, interpolation="nearest")
    edge = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(edge), np.sin(edge), color="0.4", linewidth=0.8)
    if nodes is not None:
        scatter(axes, nodes[nodes @ view()[2] > 0])
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    axes.set_title(title, fontsize=10.5)
    axes.axis("off")


def scatter(axes, nodes, weights=None):
    """Nodes in front as full dots, those behind as pale ones; the area of a dot is its weight."""
    seen = (nodes @ view().T).numpy()
    size = 28.0 if weights is None else (45 * weights / weights.mean()).numpy()
    front = seen[:, 2] > 0
    sizes = np.broadcast_to(size, len(seen))
    axes.scatter(seen[~front, 0], seen[~front, 1], s=sizes[~front], facecolor="white", edgecolor=PALE, linewidth=1)
    axes.scatter(seen[front, 0], seen[front, 1], s=sizes[front], color=INK, edgecolor="white", linewidth=0.5)


def bracket(x, y, points):
    """n . (grad f x grad g) by differentiating both signals at the points."""
    gradients = []
    for coefficients in (x, y):
        place = points.clone().requires_grad_()
        signal = spherical_harmonics(LMAX, place, normalize=True) @ coefficients
        gradients.append(torch.autograd.grad(signal.sum(), place)[0])
    return (points * torch.linalg.cross(*gradients)).sum(1)


def layer(x, y, irreps_out, paths):
    """The Gaunt product of our layer, all weights one."""
    product = Interaction(NATURAL, NATURAL, irreps_out, product="gaunt", paths=paths, internal_weights=False)
    return product.double()(x, y)


def signals() -> Figure:
    """Two signals, their product on the sphere, what the layer keeps of it, and the bracket."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn((LMAX + 1) ** 2, generator=generator, dtype=torch.float64)
    direction = torch.tensor([0.35, 0.8, 0.6], dtype=torch.float64)
    y = spherical_harmonics(LMAX, direction / direction.norm())
    points, mask = visible_points()
    harmonics = spherical_harmonics(LMAX, points)
    f, g = harmonics @ x, harmonics @ y
    kept, odd = layer(x, y, NATURAL, "even"), layer(x, y, PSEUDO, "all")
    check(x, y, kept, odd)
    figure = Figure(figsize=(12.5, 3.0), layout="constrained")
    panels = figure.subplots(1, 5)
    disc(panels[0], f, mask, "x: features of an atom,\ndegrees 0 to 3")
    disc(panels[1], g, mask, "y: harmonics of one direction,\ndegrees 0 to 3")
    disc(panels[2], f * g, mask, "x y, point by point:\ndegrees 0 to 6", quadrature(3 * LMAX)[0])
    disc(panels[3], harmonics @ kept, mask, "Gaunt product of x and y:\nits degrees 0 to 3")
    disc(panels[4], harmonics[:, 1:] @ odd, mask, "odd paths: bracket {x, y},\ndegrees 1 to 3")
    return figure


def check(x, y, kept, odd) -> None:
    """The layers give the projections of the pointwise product and of the bracket: print by how much they are off."""
    points, weights = quadrature(3 * LMAX)
    harmonics = spherical_harmonics(LMAX, points)
    product = (weights * (harmonics @ x) * (harmonics @ y)) @ harmonics
    turned = (weights * bracket(x, y, points)) @ harmonics
    print(f"Gaunt layer - projected product: {float((kept - product).abs().max()):.1e}")
    print(f"odd paths - projected bracket: {float((odd - turned[1:]).abs().max()):.1e}")


def grids() -> Figure:
    """The node sets for lmax 1 to 4, and the samples that the Fourier route takes at lmax 3."""
    figure = Figure(figsize=(12.5, 2.9), layout="constrained")
    panels = figure.subplots(1, 5, gridspec_kw={"width_ratios": [1, 1, 1, 1, 1.25]})
    edge = np.linspace(0, 2 * np.pi, 200)
    for axes, lmax in zip(panels, (1, 2, 3, 4), strict=False):
        nodes, weights = quadrature(3 * lmax)
        axes.fill(np.cos(edge), np.sin(edge), facecolor="0.97", edgecolor="0.4", linewidth=0.8)
        scatter(axes, nodes, weights)
        axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
        axes.set_title(f"lmax {lmax}: {len(nodes)} points", fontsize=11)
        axes.axis("off")
    torus(panels[4])
    return figure


def torus(axes):
    """A signal continued to the torus, and the (4 lmax + 1)^2 samples of its product with another."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn((LMAX + 1) ** 2, generator=generator, dtype=torch.float64)
    line = torch.linspace(0, 2 * math.pi, 160, dtype=torch.float64)
    theta, phi = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], dim=-1)
    image = (spherical_harmonics(LMAX, points) @ x).numpy()
    top = np.abs(image).max()
    extent = (0, 2 * math.pi, 2 * math.pi, 0)
    axes.imshow(image, extent=extent, cmap=COLOURS, vmin=-top, vmax=top, alpha=0.5)
    samples = np.arange(4 * LMAX + 1) * 2 * np.pi / (4 * LMAX + 1)
    across, down = np.meshgrid(samples, samples)
    axes.plot(across.ravel(), down.ravel(), ".", color=INK, markersize=3)
    axes.axhline(math.pi, color="0.2", linewidth=1, linestyle="--")
    ends = ([0, math.pi, 2 * math.pi], ["0", "π", "2π"])
    axes.set_xticks(*ends)
    axes.set_yticks(*ends)
    axes.set(xlabel="φ", ylabel="θ (beyond π: the sphere again)", aspect="equal")
    axes.set_title(f"Fourier, lmax {LMAX}: {len(samples) ** 2} samples", fontsize=11)


def cp_ranks() -> Figure:
    """Coupling error and equivariance error of CP factors against their rank."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "cp_rank.json").read_text())["ranks"]
    figure = Figure(figsize=(12.5, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, lmax in zip(panels, (1, 2, 3), strict=True):
        curve(axes, lmax, [row for row in rows if row["lmax"] == lmax])
    panels[0].set_ylabel("relative error")
    panels[0].legend(frameon=False, loc="lower left", fontsize=9, bbox_to_anchor=(0.0, 0.18))
    return figure


def curve(axes, lmax, rows):
    """Errors below 1e-10 are rounding: they lie on a line of their own at the bottom."""
    unit = [row for row in rows if row["path_weights"] == [1.0, 1.0]]
    other = next(row for row in rows if row not in unit)
    ranks = [row["rank"] for row in unit]
    axes.axhline(EXACT, color="0.85", linewidth=1, zorder=0)
    for key, style, colour in (("coupling", "o-", INK), ("equivariance", "s--", ACCENT)):
        errors = [max(row[f"{key}_error"], EXACT) for row in unit]
        axes.plot(ranks, errors, style, color=colour, label=f"{key} error", markersize=5)
    label = "exact, path weights near 1"
    axes.plot(other["rank"], EXACT, "*", color=LEAF, markersize=14, label=label)
    published = next(row for row in unit if row["published_rank"])
    axes.axvline(published["rank"], color="0.88", linewidth=9, zorder=0)
    axes.text(published["rank"], 1.7, f"TDN: {published['rank']}", ha="center", va="bottom", fontsize=9, color="0.35")
    exact = next(row["rank"] for row in unit if row["coupling_error"] < 1e-10)
    for rank, colour in ((exact, INK), (other["rank"], LEAF)):
        axes.text(rank, EXACT / 1.45, str(rank), ha="center", va="top", fontsize=9, color=colour)
    ticks = (1, 0.1, 0.01, 0.001, EXACT)
    axes.set(yscale="log", ylim=(EXACT / 3, 1.5), xlabel="rank", title=f"lmax {lmax}\n")
    axes.set_yticks(ticks, ["1", "0.1", "0.01", "0.001", "exact"])
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def main():
    for name, draw in (("signals", signals), ("grids", grids), ("cp_ranks", cp_ranks)):
        figure = draw()
        figure.get_layout_engine().set(h_pad=0.1)
        FigureCanvasAgg(figure)
        path = IMAGES / f"tensor_products_{name}.png"
        figure.savefig(path, dpi=100)
        print(path.relative_to(ROOT), path.stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()

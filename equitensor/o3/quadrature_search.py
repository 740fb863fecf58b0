"""Finds the 18 nodes of degree 6 and the 60 of degree 12: `python -m equitensor.o3.quadrature_search`.

Levenberg-Marquardt on the moments from seeded random starts, then Newton steps to rounding. Unknowns: the
nodes (kept on the sphere by their own residuals) and the weights. Writes quadrature.npz beside this file.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch

from equitensor.o3.quadrature import NODES_FILE, moment_error
from equitensor.o3.spherical_harmonics import spherical_harmonics

Nodes: TypeAlias = tuple[torch.Tensor, torch.Tensor]  # points (n, 3), weights (n,)
SETS = {6: 18, 12: 60}  # degree: number of nodes


def find_nodes(degree: int, count: int, starts: int = 200) -> Nodes:
    """The first solution with positive weights from starts 0, 1, ...: points (count, 3), weights (count,)."""
    for seed in range(starts):
        generator = torch.Generator().manual_seed(seed)
        points = torch.randn(count, 3, generator=generator, dtype=torch.float64)
        points = points / points.norm(dim=1, keepdim=True)
        weights = torch.full((count,), 4 * math.pi / count, dtype=torch.float64)
        points, weights = _levenberg_marquardt(points, weights, degree)
        if moment_error(points, weights, degree) < 1e-8 and bool((weights > 0).all()):
            print(f"degree {degree}: {count} nodes from start {seed}")
            return _polish(points, weights, degree)
    raise RuntimeError(f"no {count} nodes of degree {degree} in {starts} starts")


def _residual(points: torch.Tensor, weights: torch.Tensor, degree: int) -> torch.Tensor:
    moments = weights @ spherical_harmonics(degree, points)
    moments[0] = moments[0] - math.sqrt(4 * math.pi)
    return torch.cat([moments, (points * points).sum(1) - 1])


def _jacobian(points: torch.Tensor, weights: torch.Tensor, degree: int) -> torch.Tensor:
    """Columns: x, y, z of each node, then the weights."""
    count = len(points)
    columns = []
    for axis in range(3):
        step = torch.zeros_like(points)
        step[:, axis] = 1.0
        derivative = torch.func.jvp(lambda p: spherical_harmonics(degree, p), (points,), (step,))[1]
        columns.append(torch.cat([(weights[:, None] * derivative).T, torch.diag(2 * points[:, axis])]))
    values = spherical_harmonics(degree, points)
    columns.append(torch.cat([values.T, torch.zeros(count, count, dtype=torch.float64)]))
    return torch.cat(columns, dim=1)


def _moved(points: torch.Tensor, weights: torch.Tensor, step: torch.Tensor) -> Nodes:
    count = len(points)
    return points + step[: 3 * count].reshape(3, count).T, weights + step[3 * count :]


def _levenberg_marquardt(points: torch.Tensor, weights: torch.Tensor, degree: int, steps: int = 150) -> Nodes:
    damping = 1e-1
    residual = _residual(points, weights, degree)
    for _ in range(steps):
        jacobian = _jacobian(points, weights, degree)
        normal = jacobian.T @ jacobian
        normal.diagonal().add_(damping)
        trial = _moved(points, weights, torch.linalg.solve(normal, -jacobian.T @ residual))
        new = _residual(trial[0], trial[1], degree)
        if new.norm() < residual.norm():
            (points, weights), residual, damping = trial, new, damping / 3
        else:
            damping *= 4
        if residual.norm() < 1e-9 or damping > 1e6:
            break
    return points, weights


def _polish(points: torch.Tensor, weights: torch.Tensor, degree: int, steps: int = 6) -> Nodes:
    """Minimum-norm Newton steps; the best iterate, since the last digit wanders."""
    errors, iterates = [], []
    for _ in range(steps):
        step = -torch.linalg.pinv(_jacobian(points, weights, degree), rtol=1e-8) @ _residual(points, weights, degree)
        points, weights = _moved(points, weights, step)
        points = points / points.norm(dim=1, keepdim=True)
        errors.append(moment_error(points, weights, degree))
        iterates.append((points, weights))
    print(f"degree {degree}: moments right to {min(errors):.1e}")
    return iterates[errors.index(min(errors))]


def main() -> None:
    """Search both sets and write them."""
    arrays: dict[str, Any] = {}  # savez has an argument of another type, which older versions of numpy lack
    for degree, count in SETS.items():
        points, weights = find_nodes(degree, count)
        arrays[f"degree{degree}_points"] = points.numpy()
        arrays[f"degree{degree}_weights"] = weights.numpy()
    np.savez(NODES_FILE, **arrays)


if __name__ == "__main__":
    main()

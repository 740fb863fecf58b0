"""Points of a picture as plain values: bounded in number, each with the structure and the atom that it shows."""

import numpy as np

POINTS = 15_000  # of each kind of picture, over all parts of the data
_WORST = 0.1  # share of them that have the largest errors, the others are drawn at random
Places = dict[int, int]  # place of a structure in the evaluation -> its place in the page, of those that it holds


def points(x, y, structure, atom, places: Places, most: int, rank, seed: int = 0) -> dict:
    """{"x", "y", "s", "a", "of"}: at most so many points, those of largest rank first, and of how many;
    s is -1 where the page does not hold the structure, a where the point belongs to no atom. rank: sizes of errors,
    by which digits are left out of x and y too."""
    order = np.argsort(-rank, kind="stable")
    if len(order) > most:
        worst, others = np.split(order, [int(_WORST * most)])
        order = np.concatenate([worst, np.random.default_rng(seed).permutation(others)[: most - len(worst)]])
    return {
        "x": _short(x[order], rank),
        "y": _short(y[order], rank),
        "s": [places.get(int(k), -1) for k in structure[order]],
        "a": [int(k) for k in atom[order]],
        "of": len(x),
    }


def _short(values: np.ndarray, errors: np.ndarray) -> list[float]:
    """Rounded to a thousandth of the root mean square of the errors; what would then be zero, to four digits."""
    spread = float(np.sqrt(np.mean(np.square(errors)))) if len(errors) else 1.0
    decimals = 6 if spread <= 0 else min(12, max(0, 3 - int(np.floor(np.log10(spread)))))
    return [round(v, decimals) or float(f"{v:.4g}") + 0.0 for v in values.tolist()]

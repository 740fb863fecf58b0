"""The shipped CP factors: cp_factors.npz, made by equitensor/o3/cp_search.py and measured again when read."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import torch

from equitensor.errors import InputError
from equitensor.o3.cp import CPFactors, all_degrees

FACTORS_FILE = Path(__file__).with_name("cp_factors.npz")
UNIT_RANKS = {1: (7, 8), 2: (24, 28, 29, 30), 3: (63, 76, 90)}  # all path weights one; the last is exact
CHOSEN_RANKS = {1: 7, 2: 24}  # exact, for path weights chosen so that the rank is low


def unit_name(lmax: int, rank: int) -> str:
    return f"lmax{lmax}_rank{rank}"


def chosen_name(lmax: int) -> str:
    return f"lmax{lmax}_chosen"


def factors_of_rank(lmax: int, rank: int) -> CPFactors:
    """Shipped factors of sum_p W^p over all degrees up to lmax; 7 lmax^2 is the rank of TDN.

    Raises:
        InputError: for a rank that is not shipped, naming those that are; for a damaged file.
    """
    if rank not in UNIT_RANKS.get(lmax, ()):
        raise InputError(f"no CP factors of rank {rank} at lmax {lmax} are shipped ({_offer(lmax)})")
    return load_factors(unit_name(lmax, rank))


def factors_within(lmax: int, tolerance: float) -> CPFactors:
    """The shipped factors of lowest rank whose coupling error is at most `tolerance`.

    Raises:
        InputError: where there are none; for a damaged file.
    """
    if not isinstance(tolerance, (int, float)) or not tolerance > 0:
        raise InputError(f"tolerance is {tolerance!r}: give a coupling error such as 1e-2, or 1e-9 for the exact rank")
    for rank in UNIT_RANKS.get(lmax, ()):
        factors = factors_of_rank(lmax, rank)
        if factors.coupling_error <= tolerance:
            return factors
    raise InputError(f"no shipped CP factors at lmax {lmax} have a coupling error <= {tolerance} ({_offer(lmax)})")


def chosen_factors(lmax: int) -> CPFactors:
    """The exactly equivariant factors of rank 7 (lmax 1) or 24 (lmax 2), every path present."""
    return load_factors(chosen_name(lmax))


@cache
@torch.inference_mode(False)  # what is kept must serve training too
def load_factors(name: str) -> CPFactors:
    """The factors `name` of the file, their errors measured anew.

    Raises:
        InputError: a file that cannot be read, or whose errors differ from the stored ones.
    """
    arrays = _read(name)
    lmax = round(arrays["a"].shape[-1] ** 0.5) - 1
    try:
        factors = CPFactors.measure((arrays["a"], arrays["b"], arrays["c"]), all_degrees(lmax), arrays["path_weights"])
    except (RuntimeError, IndexError) as error:
        raise _damaged(name, "shapes that do not fit") from error
    measured = torch.tensor([factors.coupling_error, factors.equivariance_error], dtype=torch.float64)
    if not bool(((measured - arrays["errors"]).abs() <= 1e-13 + 1e-8 * arrays["errors"]).all()):
        raise _damaged(name, f"errors {measured.tolist()}, not {arrays['errors'].tolist()}")
    return factors


def _read(name: str) -> dict[str, torch.Tensor]:
    try:
        with FACTORS_FILE.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            parts = ("a", "b", "c", "path_weights", "errors")
            return {part: torch.tensor(file[f"{name}_{part}"], dtype=torch.float64) for part in parts}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _damaged(name, str(error)) from error


def _damaged(name: str, what: str) -> InputError:
    return InputError(f"{FACTORS_FILE}: the factors {name} are damaged ({what}): install equitensor again")


def _offer(lmax: int) -> str:
    ranks = UNIT_RANKS.get(lmax)
    fit = "o3.fit_cp fits others, which the layer takes as factors="
    return f"shipped ranks: {', '.join(map(str, ranks))}; {fit}" if ranks else f"shipped for lmax 1 to 3; {fit}"

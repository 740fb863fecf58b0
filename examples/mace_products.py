"""A stock MACE model, accelerated in place: the same energies and forces (needs mace-torch).

.venv-mace/bin/python examples/mace_products.py
"""

import copy

import ase.build
import numpy as np
import torch
from mace import calculators, modules
from mace.tools.torch_tools import default_dtype

from equitensor.interfaces import accelerate
from equitensor.o3 import as_irreps  # e3nn's Irreps


def stock_mace() -> modules.ScaleShiftMACE:
    """MACE's own constructor, random weights: H, C and O, two layers, 32x0e+32x1o, correlation 3."""
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    architecture = {
        "r_max": 5.0,
        "num_bessel": 8,
        "num_polynomial_cutoff": 5,
        "max_ell": 3,
        **dict.fromkeys(("interaction_cls", "interaction_cls_first"), block),
        "num_interactions": 2,
        "num_elements": 3,
        "atomic_numbers": [1, 6, 8],
        "hidden_irreps": as_irreps("32x0e + 32x1o"),
        "MLP_irreps": as_irreps("16x0e"),
        "correlation": 3,
        "gate": torch.nn.functional.silu,
        "avg_num_neighbors": 8.0,
        "atomic_energies": np.zeros(3),
    }
    return modules.ScaleShiftMACE(**architecture, atomic_inter_scale=1.0, atomic_inter_shift=0.0)


def main() -> None:
    torch.manual_seed(0)
    with default_dtype("float64"):
        theirs = stock_mace()
    ours = copy.deepcopy(theirs)
    print(accelerate(ours))
    results = []
    for name, model in (("MACE", theirs), ("ours", ours)):
        atoms = ase.build.molecule("CH3CH2OH")
        atoms.calc = calculators.MACECalculator(models=[model], device="cpu", default_dtype="float64")
        results.append((atoms.get_potential_energy(), atoms.get_forces()))
        print(f"{name:8} energy {results[-1][0]:+.9f} eV")
    print(f"energies differ by {abs(results[1][0] - results[0][0]):.1e} eV", end=", ")
    print(f"forces by at most {np.abs(results[1][1] - results[0][1]).max():.1e} eV/A")


if __name__ == "__main__":
    main()

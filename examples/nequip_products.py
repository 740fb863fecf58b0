"""A NequIP model, accelerated in place: the same energies and forces (needs nequip).

.venv-nequip/bin/python examples/nequip_products.py
"""

import copy

import ase.build
import numpy as np
from nequip.integrations.ase import NequIPCalculator
from nequip.integrations.utils import basic_transforms
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state

from equitensor.interfaces import accelerate

SYMBOLS, CUTOFF = ["H", "C", "O"], 5.0


def stock_nequip():
    """NequIP's own builder, random weights: three layers, l_max 2, both parities, 32 features."""
    set_global_state()  # NequIP makes float64 torch's default dtype
    return NequIPGNNModel(
        seed=0,
        model_dtype="float64",
        type_names=SYMBOLS,
        r_max=CUTOFF,
        num_layers=3,
        l_max=2,
        parity=True,
        num_features=32,
        avg_num_neighbors=8.0,
    ).eval()


def main() -> None:
    theirs = stock_nequip()
    ours = copy.deepcopy(theirs)
    print(accelerate(ours))
    results = []
    for name, model in (("NequIP", theirs), ("ours", ours)):
        atoms = ase.build.molecule("CH3CH2OH")
        names = dict(zip(SYMBOLS, SYMBOLS, strict=True))
        transforms = basic_transforms(model.metadata, CUTOFF, SYMBOLS, names)
        atoms.calc = NequIPCalculator(model, device="cpu", transforms=transforms)
        results.append((atoms.get_potential_energy(), atoms.get_forces()))
        print(f"{name:8} energy {results[-1][0]:+.9f} eV")
    print(f"energies differ by {abs(results[1][0] - results[0][0]):.1e} eV", end=", ")
    print(f"forces by at most {np.abs(results[1][1] - results[0][1]).max():.1e} eV/A")


if __name__ == "__main__":
    main()

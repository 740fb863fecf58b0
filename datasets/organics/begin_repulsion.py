"""A model file whose repulsion begins where its training data end, out of one that knew less of them.

    python datasets/organics/begin_repulsion.py model.eqt "runs/organics/train*.lmdb" other.eqt

The distances are those of 20 000 of the structures: predictions change only where atoms are nearer than in these.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from equitensor import models
from equitensor.data import open_snapshots
from equitensor.errors import InputError
from equitensor.training.closest import begin_repulsion


def changed(model: models.Potential, data: str) -> list[str]:
    """Let the repulsion begin anew; what has changed, in Angstrom, by pair."""
    if model.repulsion is None:
        raise InputError("the model has no repulsion that could begin anywhere")
    snapshots, before = open_snapshots(data), model.repulsion.begins.tolist()
    begin_repulsion(model, snapshots, np.arange(len(snapshots)))
    return [
        f"{chemical_symbols[a]}-{chemical_symbols[b]} {before[i][j]:.2f} -> {model.repulsion.begins[i, j]:.2f}"
        for i, a in enumerate(model.elements)
        for j, b in enumerate(model.elements[: i + 1])
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", help="what it was trained on")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    try:
        model = models.load(options.model)
        print(*changed(model, options.data), sep="\n")
        models.save(model, options.out)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

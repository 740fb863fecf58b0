"""The errors of knowing nothing but the E0s: what a trained model is to be measured against."""

import numpy as np

from equitensor.data import Snapshots


def baseline(snapshots: Snapshots, indices, e0s: dict[int, float]) -> dict[str, float | int | None]:
    """Errors of energies sum_i E0_{z_i} and zero forces, under the names of `Evaluation.metrics`.

    Structures with an element that has no E0 are left out; forces on atoms marked fixed do not count.
    """
    energies, per_atom, forces, atoms, count = [], [], [np.zeros(0)], 0, 0
    for i in indices:
        structure = snapshots[int(i)]
        if not set(structure.z.tolist()) <= set(e0s):
            continue
        count, atoms = count + 1, atoms + len(structure)
        if structure.energy is not None:
            energies.append(structure.energy - sum(e0s[z] for z in structure.z.tolist()))
            per_atom.append(energies[-1] / len(structure))
        if structure.forces is not None:
            free = slice(None) if structure.fixed is None else ~structure.fixed
            forces.append(np.asarray(structure.forces, np.float64)[free].ravel())
    found = (
        _errors("energy", energies) | _errors("energy_per_atom", per_atom) | _errors("forces", np.concatenate(forces))
    )
    return found | {"stress_mae": None, "stress_rmse": None, "n_structures": count, "n_atoms": atoms}


def _errors(name, values) -> dict[str, float | None]:
    values = np.asarray(values, dtype=np.float64)
    if len(values) == 0:
        return {f"{name}_mae": None, f"{name}_rmse": None}
    return {f"{name}_mae": float(np.abs(values).mean()), f"{name}_rmse": float(np.sqrt(np.square(values).mean()))}

"""The errors of knowing nothing but the E0s: what a trained model is to be measured against."""

from equitensor.data import Snapshots
from equitensor.training.errors import ErrorSums, errors_of, from_e0s
from equitensor.training.scores import scores_of


def baseline(snapshots: Snapshots, indices, e0s: dict[int, float]) -> dict[str, float | int | None]:
    """Errors of energies sum_i E0_{z_i} and zeros for all other labels, under the names of `Evaluation.metrics`.

    Structures with an element that has no E0 are left out; forces on atoms marked fixed do not count.
    """
    total, atoms, count = ErrorSums(), 0, 0
    for i in indices:
        structure = snapshots[int(i)]
        if set(structure.z.tolist()) <= set(e0s):
            count, atoms = count + 1, atoms + len(structure)
            known = from_e0s(structure, e0s)
            total.add(errors_of(structure, known) | scores_of(structure, known))
    return total.values() | {"n_structures": count, "n_atoms": atoms}

"""Forces on atoms that are held in place, learned where they are there."""

from collections.abc import Callable

import numpy as np

from equitensor.graph import Structure


class FixedForces:
    """What is learned of structure i: forces on atoms marked fixed count too where they are labelled and not zero.

    Codes that hold atoms in place print what acts on them all the same; where a program has set them to zero,
    nothing is known. `left(i, structure)`: what is to be learned in other respects.
    """

    def __init__(self, left: Callable[[int, Structure], Structure] | None = None) -> None:
        self.left = left

    def __call__(self, i: int, structure: Structure) -> Structure:
        """The structure with fewer atoms marked fixed."""
        fixed = structure.fixed
        if fixed is not None and structure.forces is not None:
            fixed = fixed & ~np.any(structure.forces != 0, axis=1)
        structure = structure if self.left is None else self.left(i, structure)
        return structure.replace(fixed=fixed)

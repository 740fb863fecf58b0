"""How features change with positions: along random displacements, as many as the sums over training data ask for."""

from collections.abc import Iterator

import numpy as np

from equitensor.graph import Structure

_EACH, _ALL = 8, 8192  # displacements of a structure and of all
_STEP = 0.01  # Angstrom: rounding in single precision and the third derivative matter little


class Displacements:
    """Changes dF = (df/dx) v of features along v ~ N(0, 1), so that sums of dF dF^T have the mean of (df/dx) (df/dx)^T.

    With many structures only some are displaced, drawn at random, and count for the others. Args: count, how many
    structures there are.
    """

    def __init__(self, count: int):
        self.each = int(np.clip(_ALL // max(count, 1), 1, _EACH))
        self.share = min(1.0, _ALL / max(self.each * count, 1))
        self._random = np.random.default_rng(0)

    def of_features(self, engine, structure: Structure) -> Iterator[np.ndarray]:
        """(n, d) changes, central differences; atoms held in place stay there."""
        if self._random.random() >= self.share:
            return
        for _ in range(self.each):
            step = _STEP * self._random.normal(size=structure.pos.shape)
            if structure.fixed is not None:
                step[structure.fixed] = 0
            up, down = (engine.descriptors(structure.replace(pos=structure.pos + x)) for x in (step, -step))
            yield (up - down) / (2 * _STEP * np.sqrt(self.each * self.share))

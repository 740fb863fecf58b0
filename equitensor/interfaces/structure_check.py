"""What a calculator refuses before it computes: elements, cell and positions, in numpy."""

import numpy as np
from ase.data import chemical_symbols

from equitensor.errors import InputError
from equitensor.graph.geometry import check_cell_and_extent, check_geometry, check_positions


class StructureCheck:
    """Checks structures for a model that knows some elements; of one whose atoms only moved that they are finite.

    After a change of elements or periodicity all is checked (time n log n), after one of the cell, as at every step of
    npt, the cell and the extent (time n). Two atoms that move into one place are for the neighbour search to see.
    """

    def __init__(self, elements):
        self.elements = np.array(elements)
        self._whole = self._cell = None

    def __call__(self, numbers, pos, cell, pbc) -> None:
        """Raise InputError, naming the atoms, for a structure that the model cannot answer.

        Args: numbers (n,), pos (n, 3) and cell (3, 3) in Angstrom, rows of cell are lattice vectors, pbc (3,) bool.
        """
        if not len(numbers):
            raise InputError("the structure has no atoms")
        check_positions(pos)
        whole, box = (numbers.tobytes(), pbc.tobytes()), cell.tobytes()
        if whole == self._whole and box == self._cell:
            return
        if whole == self._whole:
            check_cell_and_extent(pos, cell, pbc)
        else:
            check_elements(numbers, self.elements)
            check_geometry(pos, cell, pbc)
        self._whole, self._cell = whole, box


def check_elements(numbers: np.ndarray, known: np.ndarray) -> None:
    """Raise InputError, naming the atoms, where an element is not among the known ones (atomic numbers)."""
    strange = ~np.isin(numbers, known)
    if not strange.any():
        return
    missing = ", ".join(chemical_symbols[z] for z in np.unique(numbers[strange]))
    knows = ", ".join(chemical_symbols[z] for z in known)
    first = int(np.argmax(strange))
    raise InputError(
        f"the structure holds {missing} (first at atom {first}), but the model was trained on {knows} only: "
        "take a model that knows the element, or train one on data that contain it"
    )


def no_stress(cell: np.ndarray, pbc: np.ndarray) -> str:
    """Why there is no stress of this structure, and what to do."""
    names = ", ".join(name for name, periodic in zip("abc", pbc, strict=True) if periodic) or "no direction"
    if abs(np.linalg.det(cell)) > 0:
        how = 'Calculator(..., stress="cell") gives (1/V) dE/d(strain) with the volume of the cell that it has'
    else:
        how = "give it a cell with vacuum (atoms.center(vacuum=..., axis=...)) and atoms.pbc = True"
    return f"stress needs a structure that is periodic along a, b and c; this one is along {names}: {how}"

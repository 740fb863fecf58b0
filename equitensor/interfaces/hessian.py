"""`equitensor.hessian`: second derivatives of the energy, of our models and of any ASE calculator."""

import copy
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from equitensor.errors import InputError
from equitensor.interfaces.calculator import Calculator
from equitensor.interfaces.core_engine import CoreEngine


def hessian(calc: BaseCalculator, atoms: Atoms, step: float = 0.005) -> np.ndarray:
    """Second derivatives of the energy with respect to the positions, (3n, 3n), float64, eV/Angstrom^2.

    For an `equitensor.Calculator` they are analytic: torch differentiates twice in float64, whatever the dtype of the
    calculator. The matrix is symmetric and satisfies the acoustic sum rule to rounding. For other ASE calculators, and
    for a model with dispersion, they are central differences of forces, (F(x - h) - F(x + h)) / 2h with h = `step`
    in Angstrom, which take 6n calls, have an error of order h^2, and are symmetrised.

    Constraints are ignored: the matrix has rows and columns for all atoms. `atoms` are not changed and need no
    calculator.

    Raises:
        InputError: a step that is not above 0, or a structure that the calculator refuses.
    """
    if not step > 0:
        raise InputError(f"step is {step} Angstrom; it must be above 0")
    model = _differentiable(calc)
    return _by_differences(calc, atoms, step) if model is None else _analytic(calc, model, atoms)


def _differentiable(calc):
    """The Potential in float64 that is all of what a calculator computes, or None."""
    if type(calc) is not Calculator:
        return None
    engine = calc._engine
    if type(engine) is CoreEngine:
        return _loaded(engine.model)
    from equitensor.interfaces.torch_engine import TorchEngine
    from equitensor.models import Potential

    if type(engine) is TorchEngine and type(engine.model) is Potential:
        return copy.deepcopy(engine.model).double()
    return None


def _loaded(model):
    """The Potential of a model file that the evaluator has open, as it was when it was opened."""
    import torch

    from equitensor import models

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.eqt"
        path.write_bytes(model._bytes)
        return models.load(path, dtype=torch.float64).requires_grad_(False)


def _analytic(calc, model, atoms) -> np.ndarray:
    import torch

    from equitensor.graph import AtomicGraph
    from equitensor.interfaces.one_at_a_time import note_threads
    from equitensor.models.hessian import hessian as of_graph

    note_threads(torch.get_num_threads())
    graph = AtomicGraph.from_structure(calc._structure(atoms), model.cutoff).to(model.device)
    return of_graph(model, graph).cpu().numpy()


def _by_differences(calc, atoms, step: float) -> np.ndarray:
    moved = atoms.copy()
    moved.set_constraint()
    moved.calc = calc
    rows = []
    for coordinate in range(3 * len(atoms)):
        forces = []
        for displacement in (-step, step):
            moved.positions = atoms.positions
            moved.positions.flat[coordinate] += displacement
            forces.append(np.array(moved.get_forces(), dtype=np.float64).ravel())
        rows.append((forces[0] - forces[1]) / (2 * step))
    hessian = np.array(rows).reshape(3 * len(atoms), 3 * len(atoms))
    return (hessian + hessian.T) / 2

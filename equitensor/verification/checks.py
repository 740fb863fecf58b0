"""All checks by name, and what `verify` does with them."""

import warnings
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from equitensor.errors import InputError
from equitensor.verification import (
    cutoff,
    derivatives,
    dynamics,
    extensivity,
    history,
    periodicity,
    symmetry,
)
from equitensor.verification.finding import FAILED, NOT_APPLICABLE, Deviation, Finding, NotApplicable, Refusal, judged
from equitensor.verification.report import Report
from equitensor.verification.subject import Subject


class Check(NamedTuple):
    """function(subject) yields quantities. `unusual`: it asks for structures that a calculator may refuse."""

    function: Callable
    unusual: bool = False


def rounding(subject: Subject):
    """How far energies and forces scatter about a smooth curve when atoms move by 1e-4 Angstrom."""
    estimate = subject.rounding
    yield Deviation("energy", estimate.measured_energy, estimate.LARGEST_ENERGY * estimate.atoms, "eV")
    yield Deviation("forces", estimate.measured_forces, estimate.LARGEST_FORCE * estimate.force_scale, "eV/Angstrom")


CHECKS = {
    "determinism": Check(history.determinism),
    "rounding": Check(rounding),
    "forces": Check(derivatives.forces),
    "Hessian": Check(derivatives.hessian),
    "stress": Check(derivatives.stress),
    "rotation": Check(symmetry.rotation),
    "inversion": Check(symmetry.inversion),
    "translation": Check(symmetry.translation),
    "permutation": Check(symmetry.permutation),
    "lattice translation": Check(periodicity.lattice_translation),
    "equivalent cells": Check(periodicity.equivalent_cells),
    "supercells": Check(periodicity.supercells),
    "far fragments": Check(extensivity.far_fragments, unusual=True),
    "isolated atoms": Check(extensivity.isolated_atoms, unusual=True),
    "many atoms": Check(extensivity.many_atoms, unusual=True),
    "cutoff": Check(cutoff.cutoff, unusual=True),
    "NVE drift": Check(dynamics.drift),
    "stale results": Check(history.stale_results),
    "after an error": Check(history.after_an_error),
}


def verify(
    calculator: BaseCalculator,
    atoms: Atoms,
    *,
    e0s: dict[str, float] | None = None,
    others: dict | None = None,
    checks: Sequence[str] | None = None,
    seconds: float = 50.0,
    seed: int = 0,
    show: Callable[[Finding], None] | None = None,
) -> Report:
    """Check any ASE calculator on a structure, and return a Report with a finding for each of CHECKS.

    Bounds depend on the measured rounding of the calculator; errors of 2 % always exceed them.

    Args:
        calculator: provides energy and forces, and stress if it can.
        atoms: two or more, or a periodic structure; their own calculator and constraints are ignored.
        e0s: symbol -> energy of the isolated atom in eV, if known.
        others: name -> calculator that must give the same results.
        checks: names of the checks to run; None: all.
        seconds: approximate time limit; slow calculators are checked on fewer coordinates, steps and atoms.
        seed: of the random displacements.
        show: called with each finding.

    Raises:
        InputError: the calculator cannot compute the structure, or a check does not exist.
    """
    from equitensor.verification.agreement import agreement

    names = list(CHECKS) if checks is None else list(checks)
    if unknown := [name for name in names if name not in CHECKS]:
        raise InputError(f"there is no check {unknown[0]!r}: choose from {', '.join(CHECKS)}")
    began, findings = perf_counter(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of divisions by zero in structures that nobody would compute
        subject = Subject(calculator, atoms, seconds, e0s, seed)
        pending = [(name, CHECKS[name]) for name in names]
        pending += [(name, Check(lambda s, c=other: agreement(s, c))) for name, other in (others or {}).items()]
        for name, check in pending:
            findings.append(finding := _finding(subject, name, check))
            if show is not None:
                show(finding)
    return Report(str(atoms.symbols), findings, subject.calls, perf_counter() - began)


def _finding(subject: Subject, name: str, check: Check) -> Finding:
    try:
        return judged(name, list(check.function(subject)))
    except NotApplicable as error:
        return Finding(name, NOT_APPLICABLE, reason=str(error))
    except Refusal as error:
        verdict = NOT_APPLICABLE if check.unusual else FAILED
        return Finding(name, verdict, reason=f"the calculator stopped: {error}")

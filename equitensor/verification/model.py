"""A model file on this machine: what computes it, and whether every backend gives the values of the reference."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from equitensor.errors import InputError
from equitensor.verification.agreement import differences
from equitensor.verification.checks import verify
from equitensor.verification.finding import FAILED, NOT_APPLICABLE, Finding, Refusal, judged
from equitensor.verification.report import Report
from equitensor.verification.subject import Values, compute, displaced, refusal

PRECISIONS = ("float64", "float32")


def verify_model(
    path, atoms: Atoms, calculator, *, seconds: float = 50.0, show: Callable[[Finding], None] | None = None
) -> Report:
    """`verify` of a model file's calculator with the file's E0s, then every backend beside torch in float64.

    Raises InputError as `verify`.
    """
    from equitensor.models import read_header

    e0s = {chemical_symbols[int(z)]: e0 for z, e0 in read_header(path)["e0s"].items()}
    began = perf_counter()
    report = verify(calculator, atoms, e0s=e0s, seconds=seconds, show=show)
    calls = report.calls + 1  # the reference's
    for finding in backends(path, atoms):
        report.findings.append(finding)
        calls += finding.verdict != NOT_APPLICABLE
        if show is not None:
            show(finding)
    return replace(report, calls=calls, seconds=perf_counter() - began)


def backends(path, atoms: Atoms) -> Iterator[Finding]:
    """Compiled operators, evaluator, LAMMPS and GPU in both precisions, beside plain torch on the CPU in float64."""
    from equitensor.interfaces import Calculator

    base = displaced(atoms, np.random.default_rng(0))

    def computed(**options) -> Values:
        return compute(Calculator(path, **options), base, stress=base.pbc.all())

    with plain_torch():
        reference = computed(device="cpu", dtype="float64", backend="torch")
        single = computed(device="cpu", dtype="float32", backend="torch")
    yield judged("plain torch, float32", differences(reference, single, single=True))
    for name, why_not, options in _ways(path):
        for dtype in PRECISIONS:
            check = f"{name}, {dtype}"
            reason = why_not()
            if reason is not None:
                yield Finding(check, NOT_APPLICABLE, reason=reason)
                continue
            try:
                values = computed(dtype=dtype, **options)
            except (InputError, Refusal) as error:
                yield Finding(check, FAILED, reason=str(error))
            else:
                yield judged(check, differences(reference, values, dtype == "float32"))
    yield from _lammps(path, base, reference)


def _ways(path) -> list[tuple]:
    """(name, function that gives the reason why not, options of the calculator)."""
    from equitensor import core
    from equitensor.interfaces.backend import backend_of
    from equitensor.ops.cuda import why_not as no_gpu_kernels

    def no_core():
        backend, why = backend_of(path, "cpu")
        return None if backend == "core" else why

    def no_gpu():
        import torch

        return None if torch.cuda.is_available() else "torch sees no GPU"

    return [
        ("operators", lambda: core.WHY_NOT, {"device": "cpu", "backend": "torch"}),
        ("evaluator", no_core, {"device": "cpu", "backend": "core"}),
        ("GPU", lambda: no_gpu() or no_gpu_kernels(), {"device": "cuda", "backend": "torch"}),
    ]


def _lammps(path, base: Atoms, reference: Values) -> Iterator[Finding]:
    from equitensor.interfaces.lammps import inputs, plugin
    from equitensor.interfaces.lammps.check import of_lammps
    from equitensor.models import read_header

    try:
        inputs.check_structure(base, read_header(path)["elements"])
        inputs.check_model(path)
        plugin.build(plugin.of_pypi())
    except InputError as error:
        for dtype in PRECISIONS:
            yield Finding(f"LAMMPS, {dtype}", NOT_APPLICABLE, reason=str(error))
        return
    for dtype in PRECISIONS:
        try:
            values = of_lammps(path, base, dtype=dtype)
        except Exception as error:
            yield Finding(f"LAMMPS, {dtype}", FAILED, reason=str(refusal(error)))
        else:
            yield judged(f"LAMMPS, {dtype}", differences(reference, Values(*values), dtype == "float32"))


@contextmanager
def plain_torch():
    """Every layer computes in plain torch, the reference, as long as the context lasts."""
    from equitensor.ops import availability

    before = availability.WHY_NOT
    availability.WHY_NOT = "the reference is asked for"
    try:
        yield
    finally:
        availability.WHY_NOT = before

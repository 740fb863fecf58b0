"""`equitensor eval --task is2re`: energies of structures that the model has relaxed itself."""

import sys

from equitensor.cli.computing import computing_options

FMAX, STEPS = 0.02, 200  # as OC20's relaxations with models


def evaluate_relaxed(args, options: dict):
    """Relax from where the data's relaxations begin, many at once, and compare the energies with those at their ends.

    Returns the Evaluation of the relaxed structures, metrics beside its own, and rows for a table; args: of `eval`.
    """
    from equitensor.data.relaxations import Relaxations
    from equitensor.interfaces.batched_engines import open_batched
    from equitensor.interfaces.batched_relaxation import relax_many
    from equitensor.training.evaluation import tally, with_known_elements

    engine, _ = open_batched(args.model, args.device, args.dtype, error_bars=False, **computing_options(args))
    data = Relaxations(args.data, **options)
    elements = [int(z) for z in engine.model.elements]
    indices, excluded = with_known_elements(elements, data.begins, data.indices)
    fmax, steps = (FMAX if args.fmax is None else args.fmax), (STEPS if args.steps is None else args.steps)
    labels, begins = [], []
    for begin, label in data.pairs(indices):
        begins.append(begin)
        labels.append(label)
    ends = list(relax_many(engine, begins, fmax, steps, args.batch_size, _progress(len(begins))))
    whole = [(label, end) for label, end in zip(labels, ends, strict=True) if not end.fault]
    failed = [(label, end) for label, end in zip(labels, ends, strict=True) if end.fault]
    evaluation = tally(((label, end.structure) for label, end in whole), excluded=excluded)
    at_start = tally(((label, label.replace(energy=end.start)) for label, end in whole), keep=False).metrics
    further = {
        "task": "is2re",
        "fmax": fmax,
        "n_converged": sum(end.converged for _, end in whole),
        "n_failed": len(failed),
        "mean_steps": sum(end.steps for _, end in whole) / max(1, len(whole)),
        "unrelaxed": {name: at_start[name] for name in ("energy_mae", "energy_rmse", "ewt")},
    }
    rows = {"relaxed by the model": evaluation.metrics, "not relaxed": at_start}
    return evaluation, further, rows


def _progress(total: int):
    """Counts on a terminal, nothing in a log file."""
    if not sys.stderr.isatty():
        return None
    return lambda count: print(f"\r{count} of {total} relaxed", end="\n" if count == total else "", file=sys.stderr)


def summary(further: dict, evaluation) -> str:
    """How the relaxations went, in a sentence."""
    count = evaluation.metrics["n_structures"]
    failed = f", {further['n_failed']} came to grief and are left out" if further["n_failed"] else ""
    return (
        f"{further['n_converged']} of {count} relaxed to forces below {further['fmax']:g} eV/Angstrom, in "
        f"{further['mean_steps']:.0f} steps on average; the others stopped after the last step{failed}"
    )

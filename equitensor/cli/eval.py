"""`equitensor eval`: the errors of a model on labelled data, its predictions for structures without labels."""

from equitensor.cli.committee import add_committee_option, model_or_committee
from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.data import add_reading_options, reading_options
from equitensor.cli.trained import MODEL_HELP


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "eval",
        help="errors of a model on labelled data, or predictions",
        description="Print the errors of energies, forces and stress. Forces on atoms marked as fixed do not count. "
        "For structures without labels print the predictions.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL_HELP)
    add("data", metavar="DATA", help="a store, or any file, folder or quoted pattern that data convert takes")
    add("--json", metavar="FILE", help="write the errors as JSON (eV, eV/Angstrom, eV/Angstrom^3)")
    add("--plots", metavar="DIR", help="draw parity plots and errors by element into this folder")
    add("--out", metavar="FILE", help="write structures with predictions and labels as extended xyz")
    add(
        "--task",
        choices=("s2ef", "is2re"),
        help="s2ef: also print OC20's scores (cosine, EFwT, EwT; the default for data "
        "with tags); is2re: relax the structures and compare the relaxed energies",
    )
    add("--fmax", type=float, metavar="F", help="is2re: stop when no force is larger, eV/Angstrom; default 0.02")
    add("--steps", type=int, metavar="N", help="is2re: maximum number of steps; default 200")
    add("--batch-size", type=int, default=16, metavar="N", help="structures per batch in torch; default 16")
    add("--dtype", choices=("float32", "float64"), help="precision; default: that of the model")
    add_committee_option(parser)
    add_computing_options(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Evaluate, print, write."""
    from equitensor.errors import InputError

    if args.batch_size < 1:
        raise InputError(f"--batch-size is {args.batch_size}; it must be 1 or more")
    if args.task == "is2re":
        if args.committee:
            raise InputError("--committee cannot be used with --task is2re; equitensor relax takes it")
        evaluation, summary = _relaxed(args)
    else:
        if args.fmax is not None or args.steps is not None:
            raise InputError("--fmax and --steps need --task is2re")
        evaluation, summary = _as_they_are(args)
    if args.json:
        _write_json(summary, args.json)
    if args.plots:
        from equitensor.models import read_header

        evaluation.plot(args.plots, {int(z): e0 for z, e0 in read_header(args.model)["e0s"].items()})
    if args.out:
        _write_predictions(evaluation, args.out)
    return 0


def _as_they_are(args):
    """The Evaluation of the structures, printed, and what JSON holds of it."""
    from equitensor.data import open_snapshots
    from equitensor.interfaces.backend import open_engine
    from equitensor.training import evaluate

    engine, _ = open_engine(model_or_committee(args), args.device, args.dtype, skin=0.0, **computing_options(args))
    snapshots = open_snapshots(args.data, unlabelled=True, **reading_options(args))
    labelled = bool(snapshots.index.has_any.any())
    _refuse_plots(args, labelled)
    keep = bool(args.plots or args.out or not labelled)
    singly = engine.backend == "core" or args.committee  # torch is quicker with several structures at once
    model = engine if singly else engine.model
    d3 = getattr(engine, "d3", None)
    evaluation = evaluate(model, snapshots, batch_size=args.batch_size, keep=keep, d3=d3)
    if labelled:
        print(evaluation.table(scores=True if args.task == "s2ef" else None))
        if evaluation.calibration is not None:
            print("\n".join(evaluation.calibration.lines()))
    else:
        _print_predictions(args, evaluation)
    return evaluation, evaluation.plain()


def _relaxed(args):
    """The same of the structures as the model relaxes them."""
    from equitensor.cli.relaxed_energies import evaluate_relaxed, summary
    from equitensor.training.report import error_table, render

    evaluation, further, rows = evaluate_relaxed(args, reading_options(args))
    labelled = evaluation.metrics["energy_mae"] is not None
    _refuse_plots(args, labelled)
    if labelled:
        print(render(error_table(rows, "Energies of relaxed structures", scores=True)))
    else:
        _print_predictions(args, evaluation)
    print(summary(further, evaluation))
    return evaluation, evaluation.plain() | further


def _refuse_plots(args, labelled: bool):
    from equitensor.errors import InputError

    if args.plots and not labelled:
        raise InputError(f"{args.data}: no labels to plot predictions against; leave out --plots (--out writes them)")


def _print_predictions(args, evaluation):
    from equitensor.training.report import predictions_table

    print(predictions_table(evaluation, args.out))
    print(f"{args.data}: no labels, so there is nothing to compare with")


def _write_json(metrics, path):
    import json
    from pathlib import Path

    from equitensor.whole_file import write_whole

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(metrics, indent=2) + "\n")


def _write_predictions(evaluation, path):
    """Energy, forces and stress as predicted in ASE's places; the labels beside them as label_energy and so on; error
    bars by their names."""
    from pathlib import Path

    import ase.io
    import numpy as np

    from equitensor.graph.labels import labels
    from equitensor.whole_file import whole_file

    frames = []
    calibration = evaluation.calibration
    bars = [{}] * len(evaluation.labels) if calibration is None else calibration.predicted
    for predicted, label, around in zip(evaluation.predictions, evaluation.labels, bars, strict=True):
        atoms = predicted.to_ase()
        for name, value in around.items():
            if np.ndim(value):
                atoms.new_array(name, np.asarray(value))
            else:
                atoms.info[name] = float(value)
        known = {"config_type": label.config_type, "group": label.group}
        for each in labels():
            for prefix, structure in (("", predicted), ("label_", label)):
                value = getattr(structure, each.name)
                if value is None or (each.ase and structure is predicted):  # where to_ase has put it
                    continue
                if each.per_atom:
                    atoms.new_array(f"{prefix}{each.name}", value)
                else:
                    known[f"{prefix}{each.name}"] = value
        atoms.info |= {name: value for name, value in known.items() if value is not None}
        frames.append(atoms)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        ase.io.write(partial, frames, format="extxyz")

"""`equitensor eval`: the errors of a model on labelled data."""


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "eval",
        help="errors of a model on labelled data",
        description="Print errors of energies, forces and stress; of atoms marked fixed no force is counted.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file")
    add("data", metavar="DATA", help="a store, or any file or folder that data convert takes")
    add("--json", metavar="FILE", help="write the errors as JSON (eV, eV/Angstrom, eV/Angstrom^3)")
    add("--plots", metavar="DIR", help="draw parity plots and errors by element into this folder")
    add("--out", metavar="FILE", help="write the predictions as extended xyz")
    add("--batch-size", type=int, default=16, metavar="N", help="structures at once; default 16")
    add("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda")
    add("--dtype", choices=("float32", "float64"), help="default: that of the model")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Evaluate, print, write."""
    from equitensor import models
    from equitensor.data import open_snapshots
    from equitensor.errors import InputError
    from equitensor.interfaces.calculator import pick_device, pick_dtype
    from equitensor.training import evaluate

    if args.batch_size < 1:
        raise InputError(f"--batch-size is {args.batch_size}; it must be 1 or more")
    device = pick_device(args.device)
    model = models.load(args.model, device=device, dtype=pick_dtype(args.dtype))
    snapshots = open_snapshots(args.data)
    evaluation = evaluate(model, snapshots, batch_size=args.batch_size, device=device)
    print(evaluation.table())
    if args.json:
        _write_json(evaluation.metrics, args.json)
    if args.plots:
        evaluation.plot(args.plots)
    if args.out:
        _write_predictions(evaluation.predictions, args.out)
    return 0


def _write_json(metrics, path):
    import json
    from pathlib import Path

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(metrics, indent=2) + "\n")


def _write_predictions(predictions, path):
    """The structures with the predicted energy, forces and stress in ASE's places."""
    from pathlib import Path

    import ase.io

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    ase.io.write(path, [structure.to_ase() for structure in predictions], format="extxyz")

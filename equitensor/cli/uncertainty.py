"""`equitensor uncertainty`: error bars of a trained model, written into its file."""

from equitensor.cli.committee import model_files
from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.data import add_reading_options, reading_options


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "uncertainty",
        help="add error bars to a model file",
        description="Compute error bars for energies and forces, and the novelty of atoms, in one pass over the data "
        "that MODEL was trained on, and write them into MODEL. Calibrate them on data that the model has never seen.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model file, which is modified")
    add("train", metavar="TRAIN", help="its training data: a store, or anything that data convert takes")
    add("--calibrate", metavar="VALID", help="held-out data with labels; without them the error bars are too small")
    add(
        "--committee",
        nargs="+",
        metavar="OTHER",
        help="models trained with other seeds: calibrate the committee MODEL OTHER ...",
    )
    add("--remove", action="store_true", help="remove the error bars from MODEL; TRAIN is not read")
    add_computing_options(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Compute, calibrate, write, print."""
    from equitensor.data import open_snapshots
    from equitensor.errors import InputError
    from equitensor.interfaces.backend import open_engine
    from equitensor.models import own_file, write_error_bars
    from equitensor.training.uncertainty import calibrate, calibrate_committee, fit_error_bars

    own_file(args.model)  # before minutes are spent on what could not be written
    if args.remove:
        write_error_bars(args.model, None)
        print(f"{args.model}: error bars removed")
        return 0
    if args.committee and not args.calibrate:
        raise InputError("--committee needs --calibrate VALID: members differ less on what they have learned")
    engine, _ = open_engine(args.model, args.device, None, skin=0.0, **computing_options(args))
    options = reading_options(args)
    train = open_snapshots(args.train, unlabelled=bool(args.calibrate), **options)
    held_out = open_snapshots(args.calibrate, **options) if args.calibrate else train
    bars = fit_error_bars(engine, train, held_out if args.calibrate else None)
    bars = calibrate(bars, engine, held_out, source=str(held_out.name), held_out=bool(args.calibrate))
    if args.committee:
        options = computing_options(args)
        committee, _ = open_engine(model_files(args), args.device, None, skin=0.0, error_bars=False, **options)
        bars = calibrate_committee(bars, committee, held_out)
    write_error_bars(args.model, bars)
    print("\n".join(lines(bars.about)))
    print(f"{args.model}: error bars written (equitensor info shows them, eval compares them with errors)")
    return 0


def lines(about: dict) -> list[str]:
    """What error bars rest on, in sentences."""
    told = about["calibration"]
    sentences = [
        f"from {about['training_structures']} training structures, {about['training_atoms']} atoms; novelty is 1 where "
        f"{100 * about['novelty_quantile']:g} % of the training atoms of the element are nearer to their mean"
    ]
    on = f"{told['structures']} structures of {told['source']}"
    for name, unit in (("energy", "energies"), ("forces", "force components")):
        if told[name]:
            sentences.append(
                f"{name}: +-1.645 standard deviations hold {100 * told['coverage']:g} % of {told[name]} {unit}"
            )
        else:
            sentences.append(f"{name}: no labels to calibrate with, standard deviations are right up to a factor only")
    if told["held_out"]:
        sentences.append(f"calibrated on {on}, held out; elsewhere errors may be larger: see novelty")
    else:
        sentences.append(f"NOT calibrated: measured on the training data ({on}), so too small. Give --calibrate VALID")
    if "committee" in about:
        sentences.append(
            f"beside them factors of a committee of this model and {len(about['committee']['models']) - 1} others"
        )
    return sentences

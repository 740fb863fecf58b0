"""`equitensor report`: a run as one page of HTML."""

from equitensor.cli.computing import add_computing_options, computing_options


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "report",
        help="write a training run as an HTML page",
        description="Write a single HTML page that needs no network: learning curves, parity plots, outliers with "
        "their structures in 3D, errors by element, size and config_type, error bars, config and versions.",
    )
    add = parser.add_argument
    add("run_folder", metavar="RUN", help="the folder of a run, finished or still in progress")
    add(
        "overrides",
        metavar="key.sub=value",
        nargs="*",
        help="new path of data that have moved: data.train=NEW/PLACE.xyz",
    )
    add("--out", metavar="FILE", help="default RUN/report.html")
    add(
        "--structures",
        type=int,
        default=1000,
        metavar="N",
        help="structures of each part of the data to evaluate; default 1000",
    )
    add_computing_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Evaluate, write, and say what is not in the page."""
    import sys

    from equitensor.errors import InputError
    from equitensor.report import write_report

    if args.structures < 1:
        raise InputError(f"--structures is {args.structures}; it must be 1 or more")
    options = computing_options(args)
    path, notes = write_report(
        args.run_folder, args.out, args.overrides, args.structures, device=args.device, **options
    )
    for note in notes:
        print(f"equitensor: warning: {note}", file=sys.stderr)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, opens in any browser, without a network")
    return 0

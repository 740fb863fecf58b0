"""The options by which a simulation watches for structures unlike the training data."""

_LIMITS = ("novelty", "forces_std")


def add_limit_options(parser) -> None:
    """Register --max-novelty, --max-forces-std and --on-limit."""
    add = parser.add_argument
    add(
        "--max-novelty",
        type=float,
        metavar="X",
        help="watch for atoms with a higher novelty (1: exceeded by 1 %% in training)",
    )
    add(
        "--max-forces-std",
        type=float,
        metavar="F",
        help="watch for forces with a larger standard deviation, eV/Angstrom",
    )
    add(
        "--on-limit",
        "--on-novelty",
        choices=("warn", "stop", "dump"),
        default="warn",
        help="beyond these limits: warn once (default), stop (exit code 1), or write the frames next to the output",
    )


def limits(args) -> dict[str, float]:
    """The limits that were given, by the name of the result."""
    given = {name: getattr(args, f"max_{name}") for name in _LIMITS}
    return {name: limit for name, limit in given.items() if limit is not None}


def extrapolation_watch(args, atoms, out, interval: int = 1):
    """What watches the atoms, None where it was not asked for. Raises InputError for a model without error bars."""
    import sys

    from equitensor.errors import InputError
    from equitensor.interfaces.extrapolation import ExtrapolationWatch, with_error_bars

    if not limits(args):
        if args.on_limit != "warn":
            raise InputError(f"--on-limit {args.on_limit} needs --max-novelty X or --max-forces-std F")
        return None
    with_error_bars(atoms.calc, args.model)
    frames = out.with_name(f"{out.stem}-novel.extxyz")
    if args.on_limit == "dump" and frames.exists() and not args.overwrite:
        raise InputError(f"{frames} exists: choose another --out, or use --overwrite")

    def say(message):
        print(f"equitensor: warning: {message}", file=sys.stderr)

    return ExtrapolationWatch(atoms, limits(args), args.on_limit, frames, interval, say)

"""The options by which a simulation watches for structures unlike the training data."""


def add_novelty_options(parser) -> None:
    """Register --max-novelty and --on-novelty."""
    add = parser.add_argument
    add(
        "--max-novelty", type=float, metavar="X", help="look out for atoms of a higher novelty (1: as 1 %% in training)"
    )
    add(
        "--on-novelty",
        choices=("warn", "stop", "dump"),
        default="warn",
        help="with --max-novelty: warn once (default), stop (exit code 1), or write such frames beside the output",
    )


def novelty_watch(args, atoms, out, interval: int = 1):
    """What watches the atoms, None where it was not asked for. Raises InputError for a model without error bars."""
    import sys

    from equitensor.errors import InputError
    from equitensor.interfaces.novelty import NoveltyWatch, with_error_bars

    if args.max_novelty is None:
        if args.on_novelty != "warn":
            raise InputError(f"--on-novelty {args.on_novelty} needs --max-novelty X")
        return None
    with_error_bars(atoms.calc, args.model)
    frames = out.with_name(f"{out.stem}-novel.extxyz")
    if args.on_novelty == "dump" and frames.exists() and not args.overwrite:
        raise InputError(f"{frames} exists: choose another --out, or allow to overwrite it with --overwrite")

    def say(message):
        print(f"equitensor: warning: {message}", file=sys.stderr)

    return NoveltyWatch(atoms, args.max_novelty, args.on_novelty, frames, interval, say)

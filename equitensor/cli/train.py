"""`equitensor train`: a config and data in, a run folder with a model out."""

from contextlib import contextmanager
from functools import partial


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a potential",
        description="Train a potential from a YAML config. Only data.train is required; key.sub=value overrides a key.",
    )
    parser.add_argument(
        "config", metavar="CONFIG.yaml", nargs="?", help="default with --resume: the config of that run"
    )
    parser.add_argument("overrides", metavar="key.sub=value", nargs="*", help="for example train.max_time=00:10:00")
    parser.add_argument(
        "--check", action="store_true", help="open the data, take trial steps, print time and memory, stop"
    )
    parser.add_argument("--resume", metavar="RUN", help="continue the run in this folder")
    parser.add_argument("--watch", action="store_true", help="serve a live page of the run to browsers on this machine")
    parser.add_argument("--port", type=int, metavar="N", help="port of --watch; default: a free one")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Load the config, then train or check."""
    import time

    started = time.monotonic()
    from pathlib import Path

    from equitensor.training.shard_process import start_early

    start_early()  # before torch is imported here, too
    from equitensor.errors import InputError
    from equitensor.training import check, fit, load_config

    path, overrides = args.config, list(args.overrides)
    if path is not None and "=" in path and not Path(path).exists():
        path, overrides = None, [path, *overrides]
    if args.resume is not None:
        overrides.append(f"output={args.resume}")
        path = path or Path(args.resume) / "config.yaml"
    if path is None:
        raise InputError("which config? equitensor train CONFIG.yaml (see equitensor train --help)")
    if args.port is not None and not args.watch:
        raise InputError("--port needs --watch")
    if args.watch and args.check:
        raise InputError("--check does not train, so there is nothing for --watch to show: leave out one of the two")
    config = load_config(path, overrides)
    if args.check:
        check(config)
    else:
        beside = partial(_watched, port=args.port or 0) if args.watch else None
        fit(config, resume=None if args.resume is None else Path(args.resume), started=started, beside=beside)
    return 0


@contextmanager
def _watched(folder, port):
    """The run in this folder is shown to a browser; says where."""
    from equitensor.report import watched

    with watched(folder, port) as address:
        print(f"watch: {address}", flush=True)
        yield

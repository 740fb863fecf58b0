"""`equitensor data convert` and `equitensor data info`."""

import argparse
from typing import get_args


def add_parser(subparsers):
    """Register `data` with its commands; each sets `run`, a function of the parsed arguments."""
    parser = subparsers.add_parser("data", help="convert data to a store, or print what data contain")
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    convert = commands.add_parser(
        "convert",
        help="write structures from files or folders into one LMDB store",
        description="Write the structures of one or several files or folders into one LMDB store.",
    )
    convert.add_argument("sources", nargs="+", metavar="SOURCE", help="a file, folder, quoted pattern or store")
    convert.add_argument("out", metavar="OUT.lmdb", help="the store to write")
    convert.add_argument("--overwrite", action="store_true", help="replace OUT.lmdb if it exists")
    convert.add_argument(
        "--workers", type=_count, metavar="N", help="number of reader processes; default: number of cores"
    )
    convert.add_argument(
        "--on-bad",
        choices=("error", "report"),
        default="error",
        help="unusable records: stop at the first (default), or leave them out, list them in "
        "OUT.lmdb.left_out.csv, and end with exit code 1",
    )
    add_reading_options(convert)
    convert.set_defaults(run=run_convert)
    info = commands.add_parser(
        "info",
        help="print what a store, file or folder contains",
        description="Print structures, elements, labels and ranges of a store, file or folder, and suspicious values.",
    )
    info.add_argument("path", metavar="PATH", nargs="+", help="a store, file, folder or quoted pattern")
    add_reading_options(info)
    info.set_defaults(run=run_info)


def add_reading_options(parser):
    """Register the options that say how a file is read: those that the formats declare."""
    parser.when_used(_add_declared)


def _add_declared(parser):
    from equitensor.data import formats

    choices = ("auto", *sorted(formats.FORMATS))
    parser.add_argument("--format", choices=choices, default="auto", help="default: determined from the file")
    for name, (kind, field) in formats.all_settings().items():
        extra = field.json_schema_extra or {}
        how = {"help": (field.description or "").replace("%", "%%"), "dest": name}
        kinds = [getattr(each, "__origin__", each) for each in get_args(kind)]  # of Annotated types what they annotate
        several = list[str] in get_args(kind)
        if bool in kinds:
            how |= {"action": "store_true", "default": None}
        else:
            how["metavar"] = extra.get("metavar", "NAME")
            if str not in kinds and (number := next((each for each in (float, int) if each in kinds), None)):
                how |= {"type": number, "metavar": extra.get("metavar", "N")}
        if several:
            how |= {"action": "append"} if extra.get("repeated") else {"nargs": "+"}
        parser.add_argument("--" + extra.get("option", name).replace("_", "-"), **how)


def reading_options(args) -> dict:
    """What `open_snapshots` and `convert` take, of the parsed arguments."""
    from equitensor.data import formats

    return {"format": args.format, **{name: getattr(args, name) for name in formats.all_settings()}}


def _count(text: str) -> int:
    """A number of processes."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of processes, which is 1 or more")
    return int(text)


def run_convert(args: argparse.Namespace) -> int:
    """Convert with a bar and a running count, then print the coverage of the store; 1 where records were left out."""
    from rich.console import Console

    from equitensor.cli.progress import ConversionProgress
    from equitensor.cores import usable_cores
    from equitensor.data import convert
    from equitensor.data.convert import report_path

    console = Console()
    options = reading_options(args) | {"workers": args.workers or usable_cores(), "on_bad": args.on_bad}
    with ConversionProgress(console) as shown:
        store = convert(
            args.sources, args.out, overwrite=args.overwrite, progress=shown.count, share=shown.share, **options
        )
    if len(store):
        _print_coverage(console, [store])
    left_out = store.provenance["left_out"]
    if left_out:
        report = report_path(args.out)
        said = "1 record was" if left_out == 1 else f"{left_out} records were"
        console.print(f"{said} left out: {report} says which and why", soft_wrap=True, highlight=False)
    console.print(f"wrote {args.out}", soft_wrap=True, highlight=False)
    return 1 if left_out else 0


def run_info(args: argparse.Namespace) -> int:
    """Print the coverage table of each path and, of a store, where it came from."""
    from rich.console import Console

    from equitensor.data import open_snapshots

    console = Console()
    snapshots = [open_snapshots(path, unlabelled=True, **reading_options(args)) for path in args.path]
    _print_coverage(console, snapshots)
    for each in snapshots:
        _print_provenance(console, each)
    return 0


def _print_coverage(console, snapshots):
    from pathlib import Path

    from equitensor.data import coverage, coverage_table

    coverages = [coverage(each, name=Path(each.name).name) for each in snapshots]
    console.print(coverage_table(coverages))
    for warning in (text for each in coverages for text in each.warnings):
        console.print(f"[yellow]warning:[/] {warning}", soft_wrap=True, highlight=False)


def _print_provenance(console, snapshots):
    created = getattr(snapshots, "created", None)
    if created is None:
        return
    sources = ", ".join(source["path"] for source in snapshots.provenance.get("sources", []))
    origin = f" from {sources}" if sources else ""
    console.print(f"{snapshots.name}: written {created}{origin}", soft_wrap=True, highlight=False)

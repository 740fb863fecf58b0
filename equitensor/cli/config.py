"""`equitensor config`: the keys of a training config, or their JSON schema for editors."""


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "config",
        help="the keys of a training config",
        description="Print the keys of a training config with the values that they take, defaults and meanings.",
    )
    parser.add_argument("section", metavar="SECTION", nargs="?", help="data, model, train, loss; default: all keys")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of config files, for editors")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print."""
    import json

    from equitensor.cli.main import did_you_mean
    from equitensor.errors import InputError
    from equitensor.training import config_keys

    if args.schema:
        print(json.dumps(config_keys.schema(), indent=2))
        return 0
    sections = config_keys.keys()
    if args.section is not None and args.section not in sections:
        raise InputError(f"a config has no section {args.section!r}{did_you_mean(args.section, sections)}")
    for name, keys in sections.items():
        if args.section in (None, name):
            _print(name, keys)
    return 0


def _print(name: str, keys) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name, title_justify="left", expand=False)
    for heading in ("key", "values", "default", "meaning"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "key")
    for key in keys:
        table.add_row(key.name, key.values, key.default or "-", key.meaning)
    Console().print(table, markup=False)

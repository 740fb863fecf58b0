"""`equitensor completion`: what makes a shell complete the commands and their options."""

SHELLS = ("bash", "zsh", "fish")


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a script with which a shell completes commands, options and file names.",
        epilog='bash: put eval "$(equitensor completion bash)" into ~/.bashrc. zsh: write the script to a file '
        "_equitensor in a folder of $fpath. fish: write it to ~/.config/fish/completions/equitensor.fish.",
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print the script, made from the parsers."""
    from equitensor.cli.main import build_parser
    from equitensor.errors import InputError

    try:
        import shtab
    except ImportError:
        raise InputError("completion needs shtab: pip install equitensor[completion]") from None
    parser = build_parser()
    _complete(parser, shtab.FILE)
    print(shtab.complete(parser, shell=args.shell))
    return 0


def _complete(parser, files: dict) -> None:
    """Options that are only added when they are asked for; arguments without choices are files, mostly."""
    parser.format_help()
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                _complete(below, files)
        elif action.choices is None and action.nargs != 0:
            action.complete = files

"""The command line: argv stops here. Commands import what they need when they run, so --help is quick."""

import argparse
import codecs
import difflib
import importlib
import sys
import unicodedata

from equitensor import __version__
from equitensor.errors import InputError

COMMANDS = (
    *("train", "eval", "report", "data"),
    *("md", "relax", "vibrations", "phonons"),
    *("verify", "uncertainty", "select"),
    *("lammps", "info", "bench"),
    *("config", "completion"),
)


class _Parser(argparse.ArgumentParser):
    """argparse with one clear message: what is wrong, and what was probably meant."""

    _intermixing = False
    _further = None

    def error(self, message):
        raise InputError(f"{message} (see {self.prog} --help)")

    def when_used(self, add_options):
        """Call add_options(self) before anything is parsed or explained: other commands do without its imports."""
        self._further = add_options

    def _complete(self):
        add_options, self._further = self._further, None
        if add_options is not None:
            add_options(self)

    def format_help(self):
        self._complete()
        return super().format_help()

    def parse_known_args(self, args=None, namespace=None):
        """Options may stand between positionals, optional positionals too: `md MODEL --steps 9 STRUCTURE`."""
        self._complete()
        if self._subparsers is not None or self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False

    def parse_args(self, args=None, namespace=None):
        parsed, extra = self.parse_known_args(args, namespace)
        if extra:
            command = getattr(parsed, "parser", self)
            hint = did_you_mean(extra[0].split("=")[0], sorted(_options(command)))
            raise InputError(f"{command.prog}: unknown argument {extra[0]}{hint}")
        return parsed


def _options(parser) -> set[str]:
    """The options of a command and of the commands below it."""
    options = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options = options.union(*(_options(below) for below in action.choices.values()))
    return options


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 (ran, but the result is bad), 2 (wrong input), 130."""
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        _take_any_letter(stream)
    try:
        if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
            raise InputError(f"unknown command {argv[0]!r}{did_you_mean(argv[0], COMMANDS)}")
        args = build_parser().parse_args(argv)
        return args.run(args) or 0
    except SystemExit as stop:  # argparse, after --help or --version
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except InputError as error:
        return _fail(str(error), 2)
    except BrokenPipeError:  # the reader of a pipe, as in `equitensor info | head`, has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:
        return _fail(_reason(error), 2)


def _take_any_letter(stream) -> None:
    """A terminal or a pipe of ASCII shows what it can (A for an Angstrom sign, ? for others) instead of failing."""
    if hasattr(stream, "reconfigure") and stream.errors == "strict":
        codecs.register_error("nearest", _nearest)
        stream.reconfigure(errors="nearest")


def _nearest(error: UnicodeError):
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = unicodedata.normalize("NFKD", error.object[error.start : error.end])
    return "".join(c if ord(c) < 128 else "?" for c in letters if not unicodedata.combining(c)), error.end


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands; each is a module of this package with `add_parser`."""
    parser = _Parser(
        prog="equitensor",
        description="Train and use equivariant interatomic potentials.",
        epilog="equitensor COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"equitensor {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"equitensor.cli.{name}").add_parser(subparsers)
    for command in subparsers.choices.values():
        command.set_defaults(parser=command)
    return parser


def did_you_mean(word: str, known) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _reason(error: OSError) -> str:
    """What the operating system objects to, and the file."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"


def _fail(message: str, code: int) -> int:
    print(f"equitensor: {message}", file=sys.stderr)
    return code

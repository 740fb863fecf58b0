"""`equitensor verify`: whether a model, or any ASE calculator, keeps to physics and its own derivatives here."""

from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.trained import MODEL_HELP


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "verify",
        help="check a model, or any ASE calculator, on this machine",
        description="Check forces and stress against finite differences, symmetries, cells and supercells, sums over "
        "fragments, the cutoff, energy conservation and stale results, and compare every available backend of a model "
        "with plain torch in float64. Without STRUCTURE, a cluster and a crystal of the model's elements are used. "
        "Exit code 1: a check failed.",
    )
    add = parser.add_argument
    add(
        "inputs",
        metavar="MODEL [STRUCTURE ...]",
        nargs="*",
        help=MODEL_HELP + "; then any files that ASE reads, stores, LMDB shards, or FILE@3",
    )
    add(
        "--calculator",
        metavar="MODULE:FACTORY",
        help="instead of MODEL: a function in a module or .py file that returns an ASE calculator; if it has an "
        "argument dtype, float64 is checked and float32 compared with it",
    )
    add("--e0s", metavar="H=E,...", help="with --calculator: energies of isolated atoms in eV, if known")
    add("--json", metavar="FILE", help="write all quantities (eV, Angstrom)")
    add("--seconds", type=float, default=50.0, metavar="S", help="approximate time for each structure; default 50")
    add(
        "--dtype",
        default="float64",
        choices=("float32", "float64"),
        help="precision of MODEL in the checks; default float64",
    )
    add_computing_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Check, print, write; 1 where a check failed."""
    import json

    from equitensor.errors import InputError
    from equitensor.whole_file import write_whole

    if not args.seconds > 0:
        raise InputError(f"--seconds is {args.seconds}; it must be above 0")
    checked = _of_factory(args) if args.calculator else _of_model(args)
    reports = {}
    for name, check in checked.items():
        print(f"\n{name}" if reports else name)
        reports[name] = _checked(name, check)
    if args.json:
        what = args.calculator or args.inputs[0]
        results = [{"source": name, **report.as_dict()} for name, report in reports.items()]
        passed = all(report.passed for report in reports.values())
        write_whole(args.json, json.dumps({"verified": what, "passed": passed, "structures": results}, indent=2) + "\n")
    return 0 if all(report.passed for report in reports.values()) else 1


def _checked(name, check):
    """The report of one structure, its lines printed as they come."""
    from equitensor.errors import InputError
    from equitensor.verification.report import HEADING, row

    print(HEADING)
    try:
        report = check(lambda finding: print(row(finding), flush=True))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    print(report.verdict())
    return report


def _of_model(args) -> dict:
    """Name -> function(show) that gives the report, for each structure of a model file."""
    from ase.data import chemical_symbols

    from equitensor.errors import InputError
    from equitensor.interfaces import Calculator
    from equitensor.interfaces.trajectory import read_atoms
    from equitensor.models import read_header
    from equitensor.verification.model import verify_model
    from equitensor.verification.structures import made

    if args.e0s:
        raise InputError("--e0s needs --calculator: a model file has its own E0s")
    if not args.inputs:
        raise InputError("MODEL is missing: name a model file, or say --calculator MODULE:FACTORY")
    path, *files = args.inputs
    elements = [chemical_symbols[z] for z in read_header(path)["elements"]]
    structures = {file: read_atoms(file) for file in files} or made(elements)
    if not files:
        print("no STRUCTURE: a generated cluster and crystal are checked; give a structure of your own, too\n")

    def check(atoms):
        calculator = Calculator(path, args.device, args.dtype, **computing_options(args))
        return lambda show: verify_model(path, atoms, calculator, seconds=args.seconds, show=show)

    return {name: check(atoms) for name, atoms in structures.items()}


def _of_factory(args) -> dict:
    """The same for a calculator of the user's."""
    from equitensor.errors import InputError
    from equitensor.interfaces.trajectory import read_atoms
    from equitensor.verification import verify

    if not args.inputs:
        raise InputError("STRUCTURE is missing: name a file that ASE reads, a store or LMDB shards")
    calculator, others = _calculators(args.calculator)
    options = {"e0s": _e0s(args.e0s), "others": others, "seconds": args.seconds}

    def check(atoms):
        return lambda show: verify(calculator, atoms, show=show, **options)

    return {file: check(read_atoms(file)) for file in args.inputs}


def _calculators(words: str) -> tuple:
    """The calculator, and others that must give its values, of MODULE:FACTORY."""
    import inspect

    from equitensor.errors import InputError

    factory = _factory(words)
    if hasattr(factory, "get_property") and not inspect.isclass(factory):
        return factory, {}
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        raise InputError(f"--calculator {words}: it is neither a calculator nor a function that returns one") from None
    if "dtype" in parameters:
        return factory(dtype="float64"), {"float32": factory(dtype="float32")}
    return factory(), {}


def _factory(words: str):
    import importlib
    import importlib.util
    import os
    import sys

    from equitensor.errors import InputError

    module, _, name = words.rpartition(":")
    if not module or not name:
        raise InputError(f"--calculator {words}: say MODULE:FACTORY, as ase.calculators.emt:EMT")
    try:
        if module.endswith(".py"):
            spec = importlib.util.spec_from_file_location("calculator_to_verify", module)
            if spec is None or spec.loader is None:
                raise ImportError(f"{module} is no file of Python")
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            sys.path.insert(0, os.getcwd())
            loaded = importlib.import_module(module)
        return getattr(loaded, name)
    except (ImportError, FileNotFoundError) as error:
        raise InputError(f"--calculator {words}: {error}") from None
    except AttributeError:
        raise InputError(f"--calculator {words}: {module} has no {name}") from None


def _e0s(words: str | None) -> dict[str, float]:
    from ase.data import atomic_numbers

    from equitensor.errors import InputError

    e0s = {}
    for part in (words or "").split(",") if words else ():
        symbol, _, value = part.strip().partition("=")
        try:
            e0s[symbol] = float(value)
        except ValueError:
            symbol = ""
        if symbol not in atomic_numbers:
            raise InputError(f"--e0s {words}: say symbols and energies in eV, as H=-13.6,O=-2041.8")
    return e0s

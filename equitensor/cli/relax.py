"""`equitensor relax`: the nearest minimum of the energy."""

from equitensor.cli.committee import add_committee_option, model_files, model_or_committee
from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.extrapolation import add_limit_options, extrapolation_watch, limits
from equitensor.cli.trained import MODEL_HELP, STRUCTURE_HELP, warn_untrained


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "relax",
        help="relax a structure, optionally with its cell",
        description="Relax a structure with L-BFGS. Exit code 1: not converged, or blown up.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL_HELP)
    add("structure", metavar="STRUCTURE", help=STRUCTURE_HELP)
    add("--fmax", type=float, default=0.01, metavar="F", help="stop when no force is larger, eV/Angstrom; default 0.01")
    add("--cell", action="store_true", help="relax the lattice vectors too")
    add("--steps", type=int, default=1000, metavar="N", help="maximum number of steps; default 1000")
    add("--out", metavar="FILE", help="any format that ASE writes; default ./STRUCTURE-relaxed.extxyz")
    add("--overwrite", action="store_true", help="replace FILE if it exists")
    add("--dtype", default="float64", choices=("float32", "float64"), help="precision; default float64")
    add_committee_option(parser)
    add_limit_options(parser)
    add_computing_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Relax, write and report; 1 when not converged."""
    import sys

    import ase.io

    from equitensor.interfaces import Calculator, relax
    from equitensor.interfaces.constraints import names
    from equitensor.interfaces.stability import UnstableError
    from equitensor.interfaces.trajectory import compute_first, fit_constraints, read_structure
    from equitensor.whole_file import whole_file

    out, file_format = _output(args)
    atoms, labels = read_structure(args.structure)
    models, how = model_or_committee(args), computing_options(args)
    atoms.calc = Calculator(models, args.device, args.dtype, error_bars=bool(limits(args)), **how)
    for model in model_files(args):
        warn_untrained(model, "forces", *(("stress",) if args.cell else ()))
    watch = extrapolation_watch(args, atoms, out)
    compute_first(atoms, args.structure)

    def on_step(step, energy, fmax):
        _show(step, energy, fmax)
        if watch:
            watch.check(step)

    try:
        result = relax(atoms, args.fmax, args.cell, args.steps, on_step)
    except UnstableError as error:
        print(f"equitensor: {error}", file=sys.stderr)
        return 1
    out.parent.mkdir(parents=True, exist_ok=True)
    if lost := fit_constraints(atoms, out):
        print(f"equitensor: {out}: extended xyz cannot store {names(lost)}; a .traj file can", file=sys.stderr)
    with whole_file(out, "".join(out.suffixes)) as partial:
        ase.io.write(partial, atoms, format=file_format)
    verdict = "converged" if result.converged else "NOT converged"
    stress = "" if result.smax is None else f", largest stress {result.smax:.6f} eV/Angstrom^3"
    print(f"{verdict} after {result.steps} steps: energy {result.energy:.6f} eV, ", end="")
    print(f"largest force {result.fmax:.6f} eV/Angstrom{stress}")
    if watch:
        print(watch.summary())
    print(f"structure {out}")
    if labels:
        print(f"not written, because they belong to the initial structure: {', '.join(labels)}")
    return 0 if result.converged else 1


def _show(step, energy, fmax):
    if step % 10 == 0:
        print(f"step {step:5d}  energy {energy:.6f} eV  largest force {fmax:.6f} eV/Angstrom")


def _output(args):
    """The path to write and its format, known to be free and written by ASE before any work is done."""
    from pathlib import Path

    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    from equitensor.data.frames import format_of
    from equitensor.errors import InputError
    from equitensor.interfaces.trajectory import path_for

    out = Path(args.out or path_for(args.structure, "-relaxed.extxyz"))
    if out.exists() and not args.overwrite:
        raise InputError(f"{out} exists: choose another name with --out, or use --overwrite")
    try:
        name = format_of(out) or filetype(str(out), read=False)
        writable = ioformats[name].can_write
    except (UnknownFileTypeError, KeyError):
        writable = False
    if not writable:
        raise InputError(f"{out}: ASE writes no files of this ending: say .extxyz, .cif, .traj ...")
    return out, name

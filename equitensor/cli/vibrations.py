"""`equitensor vibrations`: frequencies of a molecule, and its zero-point energy."""

from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.trained import MODEL_HELP, STRUCTURE_HELP, warn_untrained

RELAXED = 0.01  # eV/Angstrom


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "vibrations",
        help="harmonic frequencies of a molecule",
        description="Print harmonic frequencies and the zero-point energy of a molecule, or of atoms on a surface, "
        "from analytic second derivatives in float64. Constrained atoms do not move. Exit code 1: --relax failed.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL_HELP)
    add("structure", metavar="STRUCTURE", help=STRUCTURE_HELP)
    add("--relax", action="store_true", help="relax first (only `equitensor relax` writes the structure to a file)")
    add(
        "--fmax",
        type=float,
        default=0.001,
        metavar="F",
        help="with --relax: stop when no force is larger, eV/Angstrom; default 0.001",
    )
    add("--steps", type=int, default=1000, metavar="N", help="with --relax: maximum number of steps; default 1000")
    add("--json", metavar="FILE", help="write frequencies, normal modes and the structure")
    add_computing_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Relax where asked for, print the table, write; 1 when not converged."""
    import sys

    from equitensor.errors import InputError
    from equitensor.interfaces import Calculator
    from equitensor.interfaces.stability import UnstableError
    from equitensor.interfaces.trajectory import compute_first, read_atoms
    from equitensor.interfaces.vibrations import largest_free_force, vibrations

    atoms = read_atoms(args.structure)
    atoms.calc = Calculator(args.model, args.device, "float64", error_bars=False, **computing_options(args))
    warn_untrained(args.model, "forces")
    compute_first(atoms, args.structure)
    try:
        if args.relax and not _relaxed(atoms, args):
            return 1
        force = largest_free_force(atoms.calc, atoms)
        modes = vibrations(atoms.calc, atoms)
    except UnstableError as error:
        print(f"equitensor: {error}", file=sys.stderr)
        return 1
    except InputError as error:
        raise InputError(f"{args.structure}: {error}") from None
    warn_unrelaxed(args.structure, force, "say --relax")
    _print(modes, force)
    if args.json:
        _write(args, atoms, force, modes)
    return 0


def warn_unrelaxed(name, force: float, advice: str) -> None:
    """A line on stderr where forces say that a structure is at no minimum."""
    import sys

    if force > RELAXED:
        print(
            f"equitensor: warning: {name} is not relaxed, its largest force is {force:.4f} eV/Angstrom: frequencies "
            f"mean little where forces are not zero; {advice}",
            file=sys.stderr,
        )


def _relaxed(atoms, args) -> bool:
    from equitensor.interfaces import relax

    result = relax(atoms, args.fmax, steps=args.steps)
    verdict = "relaxed" if result.converged else "NOT relaxed"
    print(f"{verdict} after {result.steps} steps: energy {result.energy:.6f} eV, ", end="")
    print(f"largest force {result.fmax:.6f} eV/Angstrom")
    return result.converged


def _print(modes, force):
    print(" mode      1/cm       meV")
    for number, (wavenumber, energy) in enumerate(zip(modes.wavenumbers, modes.energies, strict=True), 1):
        mark = "i" if energy < 0 else " "
        note = "  the structure as a whole" if modes.whole[number - 1] else "  imaginary" if energy < 0 else ""
        print(f"{number:5d} {abs(wavenumber):9.2f}{mark} {1000 * abs(energy):8.3f}{mark}{note}")
    print(f"zero-point energy {modes.zero_point_energy:.6f} eV, largest force {force:.6f} eV/Angstrom")
    if imaginary := int((modes.imaginary & ~modes.whole).sum()):
        print(f"{imaginary} imaginary: no minimum in these directions, left out of the zero-point energy")


def _write(args, atoms, force, computed):
    import json

    from equitensor.whole_file import write_whole

    rows = zip(
        computed.wavenumbers, computed.energies, computed.imaginary, computed.whole, computed.displacements, strict=True
    )
    modes = [
        {
            "wavenumber": float(abs(wavenumber)),
            "energy": float(abs(energy)),
            "imaginary": bool(imaginary),
            "whole": bool(whole),
            "displacements": displacements.tolist(),
        }
        for wavenumber, energy, imaginary, whole, displacements in rows
    ]
    contents = {
        "model": str(args.model),
        "structure": str(args.structure),
        "units": {"wavenumber": "1/cm", "energy": "eV", "displacements": "1/sqrt(amu)"},
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "largest_force": force,
        "zero_point_energy": computed.zero_point_energy,
        "modes": modes,
    }
    write_whole(args.json, json.dumps(contents, indent=2) + "\n")

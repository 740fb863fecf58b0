"""`equitensor phonons`: the band structure of a crystal's vibrations."""

from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.trained import MODEL_HELP, STRUCTURE_HELP, warn_untrained

IMAGINARY = 1.0  # 1/cm below zero that is more than rounding


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "phonons",
        help="phonons of a crystal",
        description="Compute the phonons of a crystal with phonopy (pip install equitensor[phonons]) from forces in "
        "displaced supercells, in float64, along the standard path of its lattice. Relax the crystal first.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL_HELP)
    add("structure", metavar="STRUCTURE", help=STRUCTURE_HELP)
    add(
        "--supercell",
        type=int,
        nargs=3,
        required=True,
        metavar=("A", "B", "C"),
        help="cells along a, b and c, as 2 2 2",
    )
    add("--displacement", type=float, default=0.01, metavar="D", help="displacement of an atom, Angstrom; default 0.01")
    add("--band", metavar="PNG", help="draw the band structure")
    add("--json", metavar="FILE", help="write the band structure")
    add_computing_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Compute, print, draw, write."""
    import sys
    from pathlib import Path

    from equitensor.cli.vibrations import warn_unrelaxed
    from equitensor.errors import InputError
    from equitensor.interfaces import Calculator
    from equitensor.interfaces.phonons import check_phonopy, phonons
    from equitensor.interfaces.trajectory import compute_first, read_atoms
    from equitensor.interfaces.vibrations import largest_free_force

    check_phonopy()
    if args.band and Path(args.band).suffix.lower() != ".png":
        raise InputError(f"--band {args.band}: a picture's name ends in .png")
    atoms = read_atoms(args.structure)
    if atoms.constraints:
        print(f"equitensor: {args.structure}: constraints are ignored: in phonons all atoms move", file=sys.stderr)
    atoms.set_constraint()
    calc = Calculator(args.model, args.device, "float64", error_bars=False, **computing_options(args))
    atoms.calc = calc
    warn_untrained(args.model, "forces")
    compute_first(atoms, args.structure)
    force = largest_free_force(calc, atoms)
    warn_unrelaxed(args.structure, force, "see `equitensor relax`")
    try:
        computed = phonons(calc, atoms, args.supercell, args.displacement)
    except InputError as error:
        raise InputError(f"{args.structure}: {error}") from None
    _print(computed, len(atoms) * args.supercell[0] * args.supercell[1] * args.supercell[2])
    if args.band:
        from equitensor.interfaces.phonons_plot import plot_bands

        plot_bands(computed, args.band)
        print(f"band structure {args.band}")
    if args.json:
        _write(args, force, computed)
    return 0


def _print(spectrum, atoms: int):
    import textwrap

    print(f"{spectrum.supercells} displaced supercells of {atoms} atoms; frequencies in 1/cm (i: imaginary)")
    names = dict.fromkeys(name for _, label in spectrum.labels for name in label.split("|"))
    for name in names:
        values = " ".join(f"{abs(v):.2f}{'i' if v < -IMAGINARY else ''}" for v in spectrum.at(name))
        print(textwrap.fill(f"{name:4s} {values}", 100, subsequent_indent="     "))
    print(f"acoustic frequencies at Gamma before the acoustic sum rule is imposed: {spectrum.drift:.3g}")
    k, band = divmod(int(spectrum.frequencies.argmin()), spectrum.frequencies.shape[1])
    if spectrum.frequencies[k, band] < -IMAGINARY:
        where = ", ".join(f"{x:.3f}" for x in spectrum.points[k])
        lowest = abs(spectrum.frequencies[k, band])
        print(f"imaginary frequencies, no minimum: the largest is {lowest:.2f}i at ({where}) of the reciprocal vectors")


def _write(args, force, spectrum):
    import json

    from equitensor.whole_file import write_whole

    contents = {
        "model": str(args.model),
        "structure": str(args.structure),
        "units": {"frequencies": "1/cm, imaginary ones negative", "distances": "2 pi/Angstrom", "cell": "Angstrom"},
        "supercell": args.supercell,
        "largest_force": force,
        "drift": spectrum.drift,
        "cell": spectrum.cell.tolist(),
        "labels": spectrum.labels,
        "points": spectrum.points.tolist(),
        "distances": spectrum.distances.tolist(),
        "frequencies": spectrum.frequencies.tolist(),
    }
    write_whole(args.json, json.dumps(contents, indent=2) + "\n")

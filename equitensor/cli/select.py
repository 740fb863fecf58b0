"""`equitensor select`: structures of a pool that are worth labelling."""

from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.data import add_reading_options, reading_options
from equitensor.cli.trained import MODEL_HELP


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "select",
        help="choose structures to label next",
        description="Choose uncertain structures that differ from one another, using the error bars of MODEL (see "
        "equitensor uncertainty): each is the most uncertain one, given that the previous ones have been learned.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL_HELP + "; it must have error bars")
    add(
        "pool",
        metavar="POOL",
        help="structures without or with labels: a trajectory, a store, or what data convert takes",
    )
    add("--count", type=int, required=True, metavar="N", help="number of structures to choose")
    add("--out", metavar="FILE", help="write them as extended xyz; default ./POOL-selected.extxyz")
    add("--overwrite", action="store_true", help="replace FILE if it exists")
    add_computing_options(parser)
    add_reading_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Choose, print, write."""
    from pathlib import Path

    import ase.io

    from equitensor.data import open_snapshots
    from equitensor.errors import InputError
    from equitensor.interfaces.backend import open_engine
    from equitensor.interfaces.extrapolation import with_error_bars
    from equitensor.interfaces.trajectory import path_for
    from equitensor.training.selection import select
    from equitensor.whole_file import whole_file

    out = Path(args.out or path_for(args.pool, "-selected.extxyz"))
    if out.exists() and not args.overwrite:
        raise InputError(f"{out} exists: name another file with --out, or use --overwrite")
    engine, _ = open_engine(args.model, args.device, None, skin=0.0, **computing_options(args))
    bars = with_error_bars(engine, args.model)
    pool = open_snapshots(args.pool, unlabelled=True, **reading_options(args))
    chosen = select(bars, engine, pool, args.count)
    print(f"{'index':>7} {'energy_std meV':>15} {'forces_std meV/A':>17} {'novelty':>8}  structure")
    frames = []
    for each in chosen:
        structure = pool[each.index]
        atoms = structure.to_ase()
        atoms.info |= {"pool_index": each.index, "energy_std": each.energy_std, "novelty": each.novelty}
        frames.append(atoms)
        columns = f"{1000 * each.energy_std:15.2f} {1000 * each.forces_std:17.2f} {each.novelty:8.2f}"
        print(f"{each.index:7d} {columns}  {structure.source}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as partial:
        ase.io.write(partial, frames, format="extxyz")
    print(f"structures {out}")
    return 0

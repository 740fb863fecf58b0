"""`equitensor md`: molecular dynamics with a model."""

from equitensor.cli.committee import add_committee_option, model_files, model_or_committee
from equitensor.cli.computing import add_computing_options, computing_options
from equitensor.cli.extrapolation import add_limit_options, extrapolation_watch, limits
from equitensor.cli.trained import MODEL_HELP, STRUCTURE_HELP, warn_untrained

_DEFAULTS = {
    "temperature": 300.0,
    "timestep": 0.5,
    "friction": 10.0,
    "pressure": 1.0,
    "interval": 10,
    "seed": 0,
}


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "md",
        help="run molecular dynamics",
        description="Run molecular dynamics. Initial velocities are drawn at the given temperature; "
        "velocities in STRUCTURE are not used. A table (.csv) and a plot (.png) of energies and temperature are "
        "written next to the trajectory. Exit code 1: the simulation blew up.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help=MODEL_HELP)
    add(
        "structure",
        metavar="STRUCTURE",
        nargs="?",
        help=STRUCTURE_HELP + "; not needed with --restart",
    )
    add("--steps", type=int, required=True, metavar="N", help="steps to run (with --restart: further steps)")
    add("--temperature", type=float, metavar="K", help="default 300 K")
    add("--timestep", type=float, metavar="FS", help="default 0.5 fs")
    add(
        "--ensemble",
        choices=("nve", "nvt", "npt"),
        default="nve",
        help="default nve; nvt and npt use Langevin dynamics",
    )
    add("--friction", type=float, metavar="PER_PS", help="friction in nvt and npt; default 10 per ps")
    add("--pressure", type=float, metavar="BAR", help="pressure in npt; default 1 bar; the cell keeps its shape")
    add("--interval", type=int, metavar="N", help="write a frame every N steps; default 10")
    add("--seed", type=int, metavar="N", help="seed of initial velocities and Langevin forces; default 0")
    add("--out", metavar="TRAJ", help=".traj or .extxyz; default ./STRUCTURE-md.traj, or the restarted file")
    add("--restart", metavar="TRAJ", help="continue from the last frame of a trajectory, with its velocities")
    add("--overwrite", action="store_true", help="replace TRAJ if it exists")
    add("--dtype", default="float32", choices=("float32", "float64"), help="precision; default float32")
    add_committee_option(parser)
    add_limit_options(parser)
    add_computing_options(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Run and report; 1 when the structure flies apart."""
    import sys
    from pathlib import Path

    from equitensor.errors import InputError
    from equitensor.interfaces import Calculator, run_md
    from equitensor.interfaces.md import MDSettings
    from equitensor.interfaces.stability import UnstableError
    from equitensor.interfaces.trajectory import compute_first, path_for, trajectory_path

    given = {name: getattr(args, name) for name in _DEFAULTS if getattr(args, name) is not None}
    settings = MDSettings(ensemble=args.ensemble, **_DEFAULTS | given)
    if args.steps < 0:
        raise InputError(f"--steps is {args.steps}; it must be 0 or more")
    if not args.structure and not args.restart:
        raise InputError("STRUCTURE is missing: name a file to start from, or a trajectory with --restart")
    out = trajectory_path(args.out or args.restart or path_for(args.structure, "-md.traj"))
    atoms, first_step, first_time = _start(args, settings)
    models, how = model_or_committee(args), computing_options(args)
    atoms.calc = Calculator(models, args.device, args.dtype, error_bars=bool(limits(args)), **how)
    for model in model_files(args):
        warn_untrained(model, "forces", *(("stress",) if args.ensemble == "npt" else ()))
    watch = extrapolation_watch(args, atoms, out, settings.interval)
    compute_first(atoms, args.restart or args.structure)
    append = args.restart is not None and out.resolve() == Path(args.restart).resolve()
    try:
        with _Progress(args.steps, first_step) as progress:

            def on_step(sample):
                progress.show(sample)
                if watch:
                    watch.check(sample.step)

            start = (first_step, first_time)
            summary = run_md(atoms, args.steps, settings, out, *start, append, args.overwrite, on_step)
    except UnstableError as error:
        print(f"equitensor: {error}", file=sys.stderr)
        if out.exists():
            print(f"the frames up to there are in {out}", file=sys.stderr)
        return 1
    print("\n".join(summary.lines()))
    if watch:
        print(watch.summary())
    print(f"trajectory {out}, table {out.with_suffix('.csv')}, plot {out.with_suffix('.png')}")
    return 0


def _start(args, settings):
    """The atoms with velocities, their step and time."""
    import numpy as np

    from equitensor.interfaces import velocities
    from equitensor.interfaces.trajectory import read_atoms, read_restart

    if args.restart:
        atoms, step, time = read_restart(args.restart)
        if args.structure:
            _check_same(args, read_atoms(args.structure), atoms)
        return atoms, step, time
    atoms = read_atoms(args.structure)
    velocities.draw(atoms, settings.temperature, np.random.default_rng(settings.seed), settings.ensemble)
    return atoms, 0, 0.0


def _check_same(args, structure, atoms):
    """Raise InputError where STRUCTURE is not what the restarted trajectory is of."""
    import numpy as np

    from equitensor.errors import InputError
    from equitensor.interfaces.constraints import hold_the_same, names

    if not np.array_equal(structure.numbers, atoms.numbers):
        raise InputError(f"{args.structure} and {args.restart} hold different atoms: leave STRUCTURE out")
    if not hold_the_same(structure, atoms):
        one, other = (names(a.constraints) or "no constraints" for a in (structure, atoms))
        raise InputError(
            f"{args.structure} has {one}, {args.restart} {other} or others of that kind: leave STRUCTURE out to go on "
            "with those of the trajectory, or start anew"
        )


class _Progress:
    """A bar with steps/s, energy and temperature; drawn ten times a second at most."""

    def __init__(self, steps, first_step):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.fields[state]}")
        self._bar = Progress(BarColumn(), MofNCompleteColumn(), text, TimeRemainingColumn())
        self._task = self._bar.add_task("md", total=first_step + steps, completed=first_step, state="")
        self._first, self._last, self._drawn, self._began = first_step, first_step + steps, 0.0, None

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def show(self, sample):
        from time import perf_counter

        now = perf_counter()
        self._began = now if self._began is None else self._began
        if now - self._drawn < 0.1 and sample.step != self._last:
            return
        self._drawn = now
        speed = (sample.step - self._first) / max(now - self._began, 1e-9)
        state = f"{speed:.1f} steps/s  E {sample.total:.4f} eV  T {sample.temperature:.0f} K"
        self._bar.update(self._task, completed=sample.step, state=state)

"""Learning on the fly: what to label of simulations at 600 K, chosen by error bars or at random.

    .venv/bin/pip install tblite
    .venv/bin/python benchmarks/learning_on_the_fly.py DATA --run runs/learning

From 50 acetylacetone frames at 300 K, five rounds: the model of the round runs molecular dynamics at 600 K, 20 of its
frames are labelled and learned beside the others. All labels are of GFN2-xTB, those of the frames in DATA too, so that
any frame can be labelled. Every training has the same number of steps and starts anew. What the run folder holds is
not computed again.
"""

import argparse
import json
from pathlib import Path

import ase.io
import numpy as np
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from environment import RESULTS, environment, write
from tblite.ase import TBLite

from equitensor import Calculator
from equitensor.cli import main as equitensor
from equitensor.data import Memory, open_snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.interfaces.backend import open_engine
from equitensor.training.evaluation import evaluate
from equitensor.training.selection import select
from equitensor.training.uncertainty import fit_error_bars

FIRST, ROUNDS, CHOSEN, HELD_OUT = 50, 5, 20, 20
RUNS, STEPS, LEFT_OUT, EVERY = 8, 1500, 250, 50  # simulations of a round, their steps, those before the first frame
TIMESTEP, TEMPERATURE, FRICTION = 0.5, 600.0, 10.0  # fs, K, 1/ps
TRAINING_STEPS, BATCH = 500, 10
HIGHEST_FORCE = 50.0  # eV/Angstrom; a frame with a higher one is not labelled
E0S = "{H: -10.7072, C: -48.7981, O: -102.5218}"  # eV, of GFN2-xTB; all structures have the same atoms
CHOICES = ("error bars", "random")


def main() -> None:
    """All seeds and both choices; the table, written and drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the acetylacetone files")
    parser.add_argument("--run", type=Path, default=Path("runs/learning"), help="folder of trainings and labels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "learning_on_the_fly.json")
    parser.add_argument("--figure", type=Path, help="draw the errors of the rounds into this PNG")
    options = parser.parse_args()
    folder = options.run
    files = {name: relabelled(options.data / f"{name}.xyz", folder) for name in ("train_300K", "test_MD_600K")}
    test = open_snapshots(files["test_MD_600K"])
    runs = []
    for seed in range(options.seeds):
        for choice in CHOICES:
            runs.append({"seed": seed, "choice": choice, "rounds": learn(files, test, folder, seed, choice)})
            print(json.dumps(runs[-1]), flush=True)
    result = {
        "environment": environment("float32"),
        "what": f"acetylacetone, GFN2-xTB; {FIRST} frames at 300 K, {ROUNDS} rounds of {CHOSEN} from MD at 600 K; "
        f"{TRAINING_STEPS} steps each; errors of {len(test)} frames at 600 K, meV, meV/Angstrom",
        "found": runs,
        "mean": means(runs),
    }
    write(result, options.out)
    if options.figure:
        draw(runs, options.figure)


def relabelled(path: Path, folder: Path) -> Path:
    """The frames of a file with labels of GFN2-xTB."""
    out = folder / path.name
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        ase.io.write(out, [labelled(atoms) for atoms in ase.io.read(path, ":")])
    return out


def labelled(atoms):
    """A copy with energy and forces of GFN2-xTB, None where there are none or absurd ones."""
    atoms = atoms.copy()
    atoms.info.clear()
    for name in set(atoms.arrays) - {"numbers", "positions"}:
        del atoms.arrays[name]
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    try:
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    except Exception:  # self-consistency was not reached; what tblite raises then depends on its version
        return None
    if not np.abs(forces).max() < HIGHEST_FORCE:
        return None
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def learn(files: dict, test, folder: Path, seed: int, choice: str) -> list[dict]:
    """Errors of the rounds; the first training is that of both choices."""
    frames = ase.io.read(files["train_300K"], ":")
    order = np.random.default_rng(seed).permutation(len(frames))
    training = [frames[i] for i in order[:FIRST]]
    start, valid = training, [frames[i] for i in order[FIRST : FIRST + HELD_OUT]]
    rounds = []
    for k in range(ROUNDS + 1):
        place = folder / (f"{seed}-{choice.replace(' ', '-')}-{k}" if k else f"{seed}-0")
        model = trained(place, training, valid, seed)
        engine, _ = open_engine(model, "cpu", None, skin=0.0, threads=1)
        errors = evaluate(engine, test, keep=False).metrics
        names = ("energy_mae", "energy_rmse", "forces_mae", "forces_rmse")
        rounds.append({"frames": len(training)} | {name: round(1000 * errors[name], 2) for name in names})
        if k < ROUNDS:
            random = np.random.default_rng([seed, k, CHOICES.index(choice)])
            taken, told = harvest(place, choice, engine, model, start, random)
            training = training + taken
            rounds[-1] |= told
    return rounds


def trained(place: Path, training: list, valid: list, seed: int) -> Path:
    """The model file of a training on these frames, its last one."""
    model = place / "run" / "model.eqt"
    if not (place / "run" / "summary.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        ase.io.write(place / "train.xyz", training)
        ase.io.write(place / "valid.xyz", valid)
        epochs = round(TRAINING_STEPS * BATCH / len(training))
        (place / "train.yaml").write_text(
            f"data: {{train: {place}/train.xyz, valid: {place}/valid.xyz, e0s: {E0S}}}\n"
            f"train: {{max_epochs: {epochs}, batch_size: {BATCH}, threads: 1, device: cpu}}\n"
            f"seed: {seed}\noutput: {place}/run\n"
        )
        if code := equitensor(["train", str(place / "train.yaml")]):
            raise SystemExit(code)
    return model


def harvest(place: Path, choice: str, engine, model: Path, start: list, random) -> tuple[list, dict]:
    """The frames to learn next, labelled, and how many there were to choose from and could not be labelled."""
    chosen = place / f"chosen-{choice.replace(' ', '-')}"  # the first place is that of both choices
    if not chosen.with_suffix(".json").exists():
        pool, ended = simulated(model, start, random)
        ranked = random.permutation(len(pool)).tolist() if choice == "random" else by_error_bars(place, engine, pool)
        taken, refused = [], 0
        for i in ranked:
            frame = labelled(pool[i])
            refused += frame is None
            taken += [] if frame is None else [frame]
            if len(taken) == CHOSEN:
                break
        ase.io.write(chosen.with_suffix(".xyz"), taken)
        told = {"pool": len(pool), "simulations_that_flew_apart": ended, "frames_without_labels": refused}
        write(told, chosen.with_suffix(".json"))
    return ase.io.read(chosen.with_suffix(".xyz"), ":"), json.loads(chosen.with_suffix(".json").read_text())


def simulated(model: Path, start: list, random) -> tuple[list, int]:
    """Frames of molecular dynamics from some of these; and how many simulations ended early."""
    calc, pool, ended = Calculator(model, device="cpu", threads=1, error_bars=False), [], 0
    for i in random.choice(len(start), RUNS, replace=False):
        atoms = start[i].copy()
        atoms.calc = calc
        MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=random)
        friction = FRICTION / (1000 * units.fs)
        md = Langevin(atoms, TIMESTEP * units.fs, temperature_K=TEMPERATURE, friction=friction, rng=random)
        try:
            md.run(LEFT_OUT)
            for _ in range((STEPS - LEFT_OUT) // EVERY):
                md.run(EVERY)
                if not np.ptp(atoms.positions, axis=0).max() < 20:
                    raise InputError("the atoms are far apart")
                pool.append(atoms.copy())
        except InputError:
            ended += 1
    return pool, ended


def by_error_bars(place: Path, engine, pool: list) -> list[int]:
    """As `equitensor uncertainty` and `equitensor select` have it, and some to spare."""
    bars = fit_error_bars(engine, open_snapshots(place / "train.xyz"))
    chosen = select(bars, engine, Memory([Structure.from_ase(atoms) for atoms in pool]), min(2 * CHOSEN, len(pool)))
    return [each.index for each in chosen]


def means(runs: list) -> dict:
    """Mean over seeds, and its standard error, of each round."""
    out = {}
    for choice in CHOICES:
        own = [each["rounds"] for each in runs if each["choice"] == choice]
        out[choice] = []
        for rounds in zip(*own, strict=True):
            row = {"frames": rounds[0]["frames"]}
            for name in ("energy_mae", "energy_rmse", "forces_mae", "forces_rmse"):
                values = [each[name] for each in rounds]
                error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
                row[name] = [round(float(np.mean(values)), 2), round(float(error), 2)]
            out[choice].append(row)
    return out


def draw(runs: list, path: Path) -> None:
    """Errors of energies and forces by round, of each seed and on average."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    colors = dict(zip(CHOICES, ("#1f4e79", "#c0504d"), strict=True))
    pairs = (("energy_rmse", "RMS error of energies, meV"), ("forces_rmse", "RMS error of forces, meV/Angstrom"))
    for axes, (name, label) in zip(figure.subplots(1, 2), pairs, strict=True):
        for choice, rows in means(runs).items():
            frames = [row["frames"] for row in rows]
            axes.plot(frames, [row[name][0] for row in rows], "o-", color=colors[choice], label=choice)
            for each in runs:
                if each["choice"] == choice:
                    axes.plot(frames, [row[name] for row in each["rounds"]], color=colors[choice], alpha=0.3, lw=0.8)
        axes.set(xlabel="frames learned", ylabel=label, ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, title="chosen by")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

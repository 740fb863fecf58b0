"""Error bars on acetylacetone: trained at 300 K, asked at 600 K, along a proton transfer and a dihedral scan.

    .venv/bin/python benchmarks/uncertainty.py DATA --run runs/uncertainty

400 of the frames of train_300K.xyz are trained on, 100 are held out, for the choice of the model and for the
calibration of its error bars. Beside them stands a committee of four models that were trained for less time each. Where
the run folder holds a model already, nothing is trained. The time that error bars take does not depend on the training:

    .venv/bin/python benchmarks/uncertainty.py DATA --run runs/cost --max-time 00:00:20 --only-cost

measures that alone, and puts it into the result that is there.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import ase.io
import numpy as np
from environment import RESULTS, environment, write
from scipy.stats import mannwhitneyu, spearmanr

from equitensor import Calculator
from equitensor.cli import main as equitensor
from equitensor.data import open_snapshots
from equitensor.interfaces.backend import open_engine
from equitensor.models.error_bars import NORMAL_90
from equitensor.training.calibration import Calibration, conformal_factor

HELD_OUT, SPLITS, STEPS = 100, 200, 20
TESTS = ("300K", "600K")
MEMBERS, EPOCHS = 4, 40  # of the committee


def main() -> None:
    """Train, compute error bars, compare them with errors, write and draw."""
    options = arguments()
    folder = options.run
    model = folder / "run" / "model.eqt"
    split(options.data, folder)
    if not model.exists():
        train(folder, options)
    command("uncertainty", model, folder / "train.xyz", "--calibrate", folder / "valid.xyz")
    if options.only_cost:
        result = json.loads(options.out.read_text()) | costs(model, options.data)
        write(result, options.out)
        return print(result["cost"])
    seen = {name: compared(model, options.data / f"test_MD_{name}.xyz") for name in TESTS}
    result = {
        "environment": environment("float32", **training(folder / "run")),
        "what": "acetylacetone, 400 frames at 300 K for training, 100 for calibration; meV, meV/Angstrom",
        "errors": {name: errors(calibration) for name, calibration in seen.items()},
        "error_bars": {name: calibration.metrics() for name, calibration in seen.items()},
        "coverage_of_halves_300K": {name: halves(getattr(seen["300K"], name)) for name in ("energies", "forces")},
        "spearman_of_energy_errors": {name: ceilings(each) for name, each in seen.items()},
        "novelty": novelty(model, options.data, folder, seen["300K"]),
        "committee": committee(folder, options),
    } | costs(model, options.data)
    write(result, options.out)
    for name in ("errors", "error_bars", "coverage_of_halves_300K", "spearman_of_energy_errors", "committee", "cost"):
        print(name, result[name])
    if options.figure:
        draw(seen, result["novelty"], options.figure)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the acetylacetone files")
    parser.add_argument("--run", type=Path, default=Path("runs/uncertainty"), help="folder of the training")
    parser.add_argument("--max-time", default="00:16:00", help="of the training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "uncertainty.json")
    parser.add_argument("--only-cost", action="store_true", help="measure the cost only, the rest stays")
    parser.add_argument("--figure", type=Path, help="draw error bars against errors, and novelty, into this PNG")
    return parser.parse_args()


def command(*words) -> None:
    """A command of equitensor, which must succeed."""
    if code := equitensor([str(word) for word in words]):
        raise SystemExit(code)


def split(data: Path, folder: Path) -> None:
    """train.xyz and valid.xyz in the folder, the isolated atoms in the first."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = ase.io.read(data / "train_300K.xyz", ":")
    order = np.random.default_rng(0).permutation(len(frames))
    isolated = ase.io.read(data / "isolated_atoms.xyz", ":")
    ase.io.write(folder / "valid.xyz", [frames[i] for i in order[:HELD_OUT]])
    ase.io.write(folder / "train.xyz", [frames[i] for i in order[HELD_OUT:]] + isolated)


def train(folder: Path, options: argparse.Namespace) -> None:
    config = folder / "train.yaml"
    config.write_text(
        f"data: {{train: {folder}/train.xyz, valid: {folder}/valid.xyz}}\n"
        f'train: {{max_time: "{options.max_time}", threads: {options.threads}, device: cpu}}\n'
        f"output: {folder}/run\n"
    )
    command("train", config)


def committee(folder: Path, options: argparse.Namespace) -> dict:
    """Errors and error bars of four models as one, and of the first of them by itself."""
    members = [folder / "committee" / str(k + 1) / "model.eqt" for k in range(MEMBERS)]
    for k, member in enumerate(members):
        if not member.exists():
            member.parent.parent.mkdir(exist_ok=True)
            config = folder / "committee" / f"{k + 1}.yaml"
            config.write_text(
                f"data: {{train: {folder}/train.xyz, valid: {folder}/valid.xyz}}\n"
                f"train: {{max_epochs: {EPOCHS}, threads: {options.threads}, device: cpu}}\n"
                f"seed: {k + 1}\noutput: {member.parent}\n"
            )
            command("train", config)
    data = [folder / "train.xyz", "--calibrate", folder / "valid.xyz"]
    command("uncertainty", members[0], *data, "--committee", *members[1:])
    results = {"epochs_of_each": EPOCHS, "members": MEMBERS}
    for kind, models in (("committee", members), ("first_by_itself", members[0])):
        seen = {name: compared(models, options.data / f"test_MD_{name}.xyz") for name in TESTS}
        results[kind] = {
            "errors": {name: errors(each) for name, each in seen.items()},
            "error_bars": {name: each.metrics() for name, each in seen.items()},
        }
    return results


def compared(model, path: Path) -> Calibration:
    """Errors beside error bars."""
    engine, _ = open_engine(model, "cpu", None, skin=0.0, threads=1)
    calibration, snapshots = Calibration(), open_snapshots(path)
    for i in range(len(snapshots)):
        structure = snapshots[i]
        calibration.add(structure, engine.compute(structure, stress=False))
    return calibration


def errors(seen: Calibration) -> dict:
    """Root mean squares in meV and meV/Angstrom."""
    pairs = {"energy_rmse": seen.energies, "forces_rmse": seen.forces}
    return {name: round(1000 * float(np.sqrt(np.mean(each[:, 0] ** 2))), 2) for name, each in pairs.items()}


def halves(pairs: np.ndarray) -> dict:
    """Coverage of one half of the data with error bars calibrated on the other, over random halves of structures."""
    random, ratios = np.random.default_rng(0), []
    structures = pairs.reshape(650, -1, 2)
    for _ in range(SPLITS):
        order = random.permutation(len(structures))
        one, other = (structures[half].reshape(-1, 2) for half in np.split(order, 2))
        factor = conformal_factor(one)
        ratios.append(np.mean(other[:, 0] <= NORMAL_90 * factor * other[:, 1]))
    return {"mean": round(float(np.mean(ratios)), 4), "std": round(float(np.std(ratios)), 4)}


def ceilings(seen: Calibration) -> dict:
    """Rank correlations that energy_std can be measured by: of the errors with the true errors of the forces in the
    structure, and of normal errors as wide as those seen at each energy_std (a power of it)."""
    forces = seen.force_errors[:, 0].reshape(len(seen.energies), -1)
    order = np.argsort(seen.energies[:, 1])
    groups = [
        (np.log(each[:, 1]).mean(), np.log(np.mean(each[:, 0] ** 2)) / 2)
        for each in np.array_split(seen.energies[order], 10)
    ]
    power = np.polyfit(*np.transpose(groups), 1)[0]
    widths = seen.energies[:, 1] ** power
    errors = np.abs(widths * np.random.default_rng(0).normal(size=(200, len(widths))))
    normal = np.mean([spearmanr(widths, each).statistic for each in errors])
    true = spearmanr(np.sqrt((forces**2).mean(axis=1)), seen.energies[:, 0]).statistic
    bounds = {"with_true_force_errors": true, "of_normal_errors_as_wide": normal, "power_of_energy_std": power}
    return {name: round(float(value), 3) for name, value in bounds.items()}


def training(run: Path) -> dict:
    """How long the model was trained."""
    with (run / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    return {"training": {"seconds": round(float(last["seconds"])), "steps": int(last["step"])}}


def novelty(model: Path, data: Path, folder: Path, usual: Calibration) -> dict:
    """Area under the ROC curve of the highest novelty in a frame, beside that of test frames at 300 K."""
    calc = Calculator(model, device="cpu", threads=1)
    known = usual.novelty.reshape(len(usual.energies), -1).max(axis=1)

    def highest(frame):
        calc.calculate(frame)
        return float(calc.results["novelty"].max())

    reached = max(angle(f) for f in ase.io.read(folder / "train.xyz", ":") if len(f) > 1)
    scan = ase.io.read(data / "test_dihedral.xyz", ":")
    scanned = [[angle(frame), highest(frame)] for frame in scan]
    beyond = [high for at, high in scanned if at > reached]
    transfer = [highest(frame) for frame in ase.io.read(data / "test_H_transfer.xyz", ":")]

    def auroc(strange):
        return round(float(mannwhitneyu(strange, known).statistic / len(strange) / len(known)), 4)

    return {
        "largest_dihedral_in_training": round(reached, 1),
        "auroc_dihedral_beyond": auroc(beyond),
        "auroc_H_transfer": auroc(transfer),
        "frames_dihedral_beyond": len(beyond),
        "highest_at_300K_median_90_max": np.quantile(known, [0.5, 0.9, 1]).round(3).tolist(),
        "highest_along_H_transfer": np.round(transfer, 3).tolist(),
        "highest_along_dihedral": np.round(scanned, 3).tolist(),
    }


def angle(frame) -> float:
    """How far the dihedral is from flat, degrees."""
    at = abs(frame.info["dihedral_angle"]) % 360
    return min(at, 360 - at)


def costs(model: Path, data: Path) -> dict:
    """The two entries of the result on what error bars cost."""
    measured = {"acetylacetone": cost(model, data, 1), "32 molecules": cost(model, data, 32)}
    return {"cost": measured, "environment_of_cost": environment("float32", threads=1)}


def cost(model: Path, data: Path, copies: int) -> dict:
    """Processor time of a force call through ASE with error bars and without, in turns of some steps."""
    frame = ase.io.read(data / "test_MD_300K.xyz", 0)
    atoms = frame.copy()
    for k in range(1, copies):
        frame.positions += [12.0, 0, 0] if k % 8 else [-84.0, 12.0, 0]
        atoms += frame
    calcs = [Calculator(model, device="cpu", threads=1, error_bars=with_them) for with_them in (False, True)]
    times, random = np.zeros((60 if copies == 1 else 20, 2)), np.random.default_rng(0)
    for row in times:
        for k in random.permutation(2):
            began = time.process_time()
            for _ in range(STEPS):
                atoms.positions += 1e-4 * random.normal(size=atoms.positions.shape)
                calcs[k].calculate(atoms)
            row[k] = (time.process_time() - began) / STEPS
    without, with_bars = np.median(times, axis=0)
    return {
        "atoms": len(atoms),
        "microseconds_without": round(1e6 * without, 1),
        "microseconds_with": round(1e6 * with_bars, 1),
        "ratio": round(with_bars / without, 3),
    }


def draw(seen: dict, ceilings: dict, path: Path) -> None:
    """Forces at both temperatures in bins of predicted standard deviation; novelty along the two paths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    energies, forces, paths = figure.subplots(1, 3)
    colors = {"300K": "#1f4e79", "600K": "#c0504d"}
    for axes, name, bins, unit in ((energies, "energies", 10, "meV"), (forces, "forces", 25, "meV/Angstrom")):
        drawn = []
        for key, calibration in seen.items():
            pairs = 1000 * getattr(calibration, name)
            pairs = pairs[np.argsort(pairs[:, 1])]
            means = [
                (np.sqrt(np.mean(each[:, 1] ** 2)), np.sqrt(np.mean(each[:, 0] ** 2)))
                for each in np.array_split(pairs, bins)
            ]
            drawn += means
            axes.plot(*np.transpose(means), "o", markersize=4, color=colors[key], label=key.replace("K", " K"))
        ends = np.array([0.8, 1.25]) * np.quantile(drawn, [0, 1])
        axes.plot(ends, ends, color="0.6", linewidth=1, zorder=0)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel=f"predicted standard deviation, {unit}")
        axes.set(ylabel=f"RMS error, {unit}", title=f"Error bars of {name}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False)
    at, high = np.transpose(ceilings["highest_along_dihedral"])
    paths.plot(at, high, color="#1f4e79", label="dihedral scan")
    paths.axvline(ceilings["largest_dihedral_in_training"], color="0.6", linestyle=":", label="reached in training")
    paths.axhline(1, color="0.6", linewidth=1)
    paths.set(xlabel="dihedral, degrees", ylabel="highest novelty of an atom", title="Novelty")
    paths.legend(frameon=False)
    for axes in (energies, forces, paths):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

"""Crystals of many elements: train for a given wall time on nine tenths of a file, test on the rest, beside MACE.

    .venv/bin/python benchmarks/crystals.py FILE --max-time 600
    .venv-mace/bin/python benchmarks/crystals.py FILE --max-time 600 --mace

Ours is `equitensor train` with data.train and the time alone; MACE, 32x0e+32x1o, r_max 5, is trained by its own command
with stress, ended at the limit. Errors of energies per atom, forces and stress, in units of those of "E0s and nothing
else" on the same structures (E0s by least squares over the training part): RMSE without the largest hundredth of the
labels, and MAE of all; also without structures that have a force above 20 eV/Angstrom.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from environment import REPOSITORY, RESULTS, append, environment

from equitensor.data.least_squares import ridge

MACE = {
    "name": "crystals",
    "model": "ScaleShiftMACE",
    "hidden_irreps": "32x0e + 32x1o",
    "r_max": 5.0,
    "loss": "universal",
    "energy_weight": 1.0,
    "forces_weight": 10.0,
    "stress_weight": 100.0,
    "compute_stress": True,
    "E0s": "average",
    "batch_size": 5,
    "lr": 0.005,
    "default_dtype": "float32",
    "device": "cpu",
    "plot": False,
    "max_num_epochs": 10_000,
    "valid_fraction": 0.1,
    "energy_key": "REF_energy",
    "forces_key": "REF_forces",
    "stress_key": "REF_stress",
}
FAR = 20.0  # eV/Angstrom


def main() -> None:
    """Split, train, test, append the figures to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    frames = ase.io.read(options.file, ":")
    order = np.random.default_rng(options.seed).permutation(len(frames))
    held_out = [frames[i] for i in sorted(order[: len(frames) // 10])]
    kept = [frames[i] for i in sorted(order[len(frames) // 10 :])]
    started = environment("float32", seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        calculator = (train_mace if options.mace else train)(options, kept, Path(folder))
        seconds = time.monotonic() - began
        figures = {
            name: ratios(calculator, part, references(kept))
            for name, part in (("all", held_out), ("forces below 20 eV/A", [a for a in held_out if largest(a) < FAR]))
        }
    who = "mace 32x0e+32x1o" if options.mace else " ".join(["equitensor", *options.overrides])
    append(
        {
            "environment": started,
            "model": who,
            "wall_s": round(seconds, 1),
            "threads": options.threads,
            "processor_time_s": options.processor_time,
            "held_out": figures,
        },
        options.out,
    )
    for name, rows in figures.items():
        for quantity, row in rows.items():
            print(f"{name}: {quantity}: {row}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="crystals with energy, forces and stress that ASE reads")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="go to `equitensor train` as they are")
    parser.add_argument("--max-time", type=int, default=600, help="seconds of training")
    parser.add_argument("--processor-time", type=int, help="of MACE instead: seconds of all threads, where others run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of split and weights")
    parser.add_argument("--mace", action="store_true", help="train MACE, in its environment")
    parser.add_argument("--out", type=Path, default=RESULTS / "crystals.json")
    return parser.parse_intermixed_args()


def train(options: argparse.Namespace, frames: list, folder: Path):
    """Our calculator, trained by the user's command."""
    from equitensor import Calculator

    ase.io.write(folder / "train.xyz", frames, format="extxyz")
    (folder / "train.yaml").write_text(f"data:\n  train: {folder / 'train.xyz'}\n")
    words = [f"train.max_time={options.max_time}", f"train.threads={options.threads}", f"seed={options.seed}"]
    command = [sys.executable, "-m", "equitensor", "train", str(folder / "train.yaml"), *words]
    subprocess.run([*command, f"output={folder / 'run'}", *options.overrides], check=True, cwd=REPOSITORY)
    return Calculator(folder / "run" / "model.eqt")


def train_mace(options: argparse.Namespace, frames: list, folder: Path):
    """MACE's calculator, of its last checkpoint within the time."""
    labelled = []
    for atoms in frames:
        copy = atoms.copy()
        copy.info["REF_energy"] = atoms.get_potential_energy()
        copy.info["REF_stress"] = atoms.get_stress(voigt=False)
        copy.arrays["REF_forces"] = atoms.get_forces()
        labelled.append(copy)
    ase.io.write(folder / "train.xyz", labelled, format="extxyz")
    return trained_mace(options, folder, MACE)


def trained_mace(options: argparse.Namespace, folder: Path, settings: dict):
    """The same, trained on train.xyz in the folder with these settings."""
    from argparse import Namespace

    import mace_acac
    from calculators import e3nn_constants

    flags = ["--ema", "--ema_decay=0.99", "--amsgrad", "--keep_checkpoints"]

    def command(_options, work, run, extra):
        words = [f"--{key}={value}" for key, value in settings.items()]
        program = str(Path(sys.executable).with_name("mace_run_train"))
        return [program, *words, *flags, f"--train_file={folder / 'train.xyz'}", f"--work_dir={work / run}", *extra]

    mace_acac.command = command
    run = Namespace(threads=options.threads)
    limit = None if options.processor_time else options.max_time
    mace_acac.train(run, folder, "run", [f"--seed={options.seed}"], limit, options.processor_time)
    checkpoints = sorted((folder / "run" / "checkpoints").glob("*.pt"), key=lambda path: path.stat().st_mtime)
    while checkpoints and not mace_acac.readable(checkpoints[-1]):
        checkpoints.pop().unlink()
    if not checkpoints:
        sys.exit("no checkpoint was written within the time: allow more")
    mace_acac.train(run, folder, "run", [f"--seed={options.seed}", "--restart_latest", "--max_num_epochs=0"], None)
    with e3nn_constants():
        from mace.calculators import MACECalculator
    model = str(folder / "run" / f"{settings['name']}.model")
    return MACECalculator(model_paths=model, device="cpu", default_dtype="float32")


def references(frames: list) -> dict[int, float]:
    """E0s by least squares over these structures, eV."""
    elements = sorted({int(z) for atoms in frames for z in atoms.numbers})
    counts = np.array([[(atoms.numbers == z).sum() for z in elements] for atoms in frames], dtype=float)
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    return dict(zip(elements, ridge(counts, energies, np.ones(len(frames))).tolist(), strict=True))


def largest(atoms) -> float:
    """Component of the forces, eV/Angstrom."""
    return float(np.abs(atoms.get_forces()).max())


def ratios(calculator, frames: list, e0s: dict[int, float]) -> dict[str, dict]:
    """quantity -> errors of the calculator and of nothing (meV an atom, meV/A, meV/A^3), and their ratios."""
    label, error = {}, {}
    for atoms in frames:
        copy = atoms.copy()
        copy.calc = calculator
        base, n = sum(e0s[int(z)] for z in atoms.numbers), len(atoms)
        for name, true, predicted in (
            ("energy", (atoms.get_potential_energy() - base) / n, (copy.get_potential_energy() - base) / n),
            ("forces", atoms.get_forces(), copy.get_forces()),
            ("stress", atoms.get_stress(voigt=False), copy.get_stress(voigt=False)),
        ):
            label.setdefault(name, []).append(np.ravel(true))
            error.setdefault(name, []).append(np.ravel(predicted) - np.ravel(true))
    return {name: _ratios(np.concatenate(label[name]), np.concatenate(error[name])) for name in label}


def _ratios(label: np.ndarray, error: np.ndarray) -> dict[str, float]:
    usual = np.abs(label) <= np.quantile(np.abs(label), 0.99)
    rows = {}
    for kind, of in (("rmse", lambda x: np.sqrt(np.mean(x[usual] ** 2))), ("mae", lambda x: np.mean(np.abs(x)))):
        rows |= {kind: round(1e3 * float(of(error)), 2), f"{kind}_of_nothing": round(1e3 * float(of(label)), 2)}
        rows[f"{kind}_ratio"] = round(float(of(error) / of(label)), 3)
    return rows


if __name__ == "__main__":
    main()

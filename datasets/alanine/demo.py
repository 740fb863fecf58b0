"""The whole path on a small data set (`make demo`): snapshots, store, model, errors, molecular dynamics."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = Path("datasets/alanine")
DEMO = Path("runs/demo")
MODEL = DEMO / "train" / "model.eqt"
HELD_OUT = {"hot": "alanine at 900 K", "relative": "beta-alanine (never seen)"}


def say(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def equitensor(*arguments):
    """Run one command of the package in the root of the repository, showing it as a user would type it."""
    words = [str(argument) for argument in arguments]
    print(f"$ .venv/bin/equitensor {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "equitensor", *words], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


def read(path):
    """Element counts (frames, elements), energies (frames,) and forces of every frame of an extxyz file."""
    import ase.io

    frames = ase.io.read(ROOT / path, ":")
    counts = np.array([[list(a.numbers).count(z) for z in (1, 6, 7, 8)] for a in frames], dtype=float)
    energies = np.array([a.get_potential_energy() for a in frames])
    return counts, energies, np.concatenate([a.get_forces() for a in frames])


def rmse(error):
    return float(np.sqrt(np.mean(np.square(error))))


def baseline(path):
    """Errors of a model that knows nothing but one energy per element, fitted to the training set."""
    counts, energies, _ = read(DATA / "train.xyz")
    e0s = np.linalg.lstsq(counts, energies, rcond=None)[0]
    counts, energies, forces = read(path)
    per_structure = energies - counts @ e0s
    return {"energy_rmse": rmse(per_structure), "forces_rmse": rmse(forces)}


def table():
    """Errors of the model on the held-out files beside those of E0s and zero forces."""
    print(f"{'RMSE':56}{'meV':>12}{'meV/A':>12}")
    for name, title in HELD_OUT.items():
        model = json.loads((ROOT / DEMO / f"{name}.json").read_text())
        guess = baseline(DATA / f"test_{name}.xyz")
        for who, errors in (("E0s + zero forces", guess), ("this model", model)):
            energy, forces = 1000 * errors["energy_rmse"], 1000 * errors["forces_rmse"]
            print(f"{title + ', ' + who:56}{energy:12.1f}{forces:12.1f}")


def main():
    start = time.perf_counter()
    shutil.rmtree(ROOT / DEMO, ignore_errors=True)  # the demo's own folder: what an earlier demo left
    (ROOT / DEMO).mkdir(parents=True)

    say("1. Snapshots to a store: GFN2-xTB energies and forces of alanine and four relatives")
    equitensor("data", "convert", DATA / "train.xyz", DEMO / "train.lmdb", "--group-key", "trajectory")

    say("2. Train for three minutes")
    overrides = [f"data.train={DEMO / 'train.lmdb'}", "data.group_key=null", f"output={MODEL.parent}"]
    equitensor("train", DATA / "train.yaml", *overrides)

    say("3. Evaluate on what training never saw: a hotter alanine and another molecule")
    for name in HELD_OUT:
        outputs = ["--json", DEMO / f"{name}.json", "--plots", DEMO / f"plots_{name}"]
        equitensor("eval", MODEL, DATA / f"test_{name}.xyz", *outputs)

    say("4. Molecular dynamics of alanine: 1 ps at constant energy, started at 300 K")
    settings = ["--steps", 2000, "--timestep", 0.5, "--temperature", 300, "--ensemble", "nve"]
    equitensor("md", MODEL, DATA / "alanine.xyz", *settings, "--out", DEMO / "md.traj")

    say("5. How good is it?")
    table()
    farewell(time.perf_counter() - start)


def farewell(seconds):
    say(f"Done in {seconds / 60:.1f} minutes. What there is now:")
    print(f"  model       {MODEL}\n  trajectory  {DEMO / 'md.traj'}")
    for picture in sorted((ROOT / DEMO).rglob("*.png")):
        print(f"  picture     {picture.relative_to(ROOT)}")
    say("What to try next:")
    print(f"  .venv/bin/equitensor report {MODEL.parent}     # a page to look at")
    print(f"  .venv/bin/equitensor info {MODEL}")
    print(f"  .venv/bin/equitensor relax {MODEL} {DATA / 'alanine.xyz'} --out {DEMO / 'relaxed.xyz'}")
    print(f"  .venv/bin/equitensor train {DATA / 'train.yaml'} model.product=cg train.max_time=00:20:00")
    print("  .venv/bin/equitensor train YOUR.yaml     # with data.train: anything that ASE reads")


if __name__ == "__main__":
    main()

"""OC20 (S2EF) with total energies: train for a given time, test on frames of the same systems and on unseen systems.

    .venv/bin/python benchmarks/oc20.py s2ef_lmdb --max-time 1800
    .venv-mace/bin/python benchmarks/oc20.py s2ef_lmdb --max-time 1800 --mace

Trained on nine tenths of the frames of each system in FOLDER/train; tested on the others ("frames") and on the systems
of FOLDER/val whose elements are all among those trained on ("systems"). Ours is datasets/oc20/train.yaml by the user's
command. MACE, 32x0e+32x1o, r_max 5, is trained by its own on the same frames with the same E0s; it has no mask, so that
forces on fixed atoms, which are labelled too, are learned as well. Both are tested on free atoms, by OC20's metrics,
beside E0s and zero forces. "offset": mean over the systems of |mean error of the energy|, "within": MAE of the energy
about that mean. Where others use the machine, --processor-time limits both instead, in seconds of one thread.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
import processor_clock
import torch
from environment import REPOSITORY, RESULTS, append, environment

from equitensor.data import Store, StoreWriter, open_snapshots, resolve_e0s
from equitensor.graph import Structure
from equitensor.training.errors import ErrorSums, errors_of, from_e0s
from equitensor.training.scores import scores_of

SHOWN = ("energy_mae", "forces_mae", "forces_cosine", "efwt")
PARTS = ("train", "frames", "systems")
MACE = {
    "name": "oc20",
    "num_interactions": 2,
    "correlation": 3,
    "max_ell": 3,
    "scaling": "rms_forces_scaling",
    "batch_size": 4,
    "valid_batch_size": 8,
    "valid_fraction": 0.02,
    "lr": 0.01,
    "forces_weight": 100.0,
}


def main() -> None:
    """Split, train, test, append the figures to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    started = environment("float32", seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = options.runs or Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        parts = split(options, folder)
        e0s = resolve_e0s("fit", parts["train"])
        began = time.monotonic()
        calculator = (train_mace if options.mace else train)(options, parts["train"], e0s.values, folder)
        seconds = time.monotonic() - began
        tests = {
            name: {
                "model": figures(parts[name], lambda structure: predicted(calculator, structure)),
                "E0s and zero forces": figures(parts[name], lambda structure: from_e0s(structure, e0s.values)),
            }
            for name in PARTS[1:]
        }
    result = {
        "environment": started,
        "model": "mace 32x0e+32x1o" if options.mace else " ".join(["equitensor", *options.overrides]),
        "wall_s": round(seconds, 1),
        "limits": {key: getattr(options, key) for key in ("max_time", "epochs", "processor_time", "threads", "every")},
        "structures": {name: len(part) for name, part in parts.items()},
        "e0s": e0s.origin,
        "tests": tests,
    }
    append(result, options.out)
    report(tests)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with train and val, of LMDB shards")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="go to `equitensor train` as they are")
    parser.add_argument("--max-time", type=int, default=1800, help="seconds of training")
    parser.add_argument("--epochs", type=int, help="of ours instead")
    parser.add_argument("--processor-time", type=int, help="instead, where others run: seconds of the processor")
    parser.add_argument("--unseen", nargs="*", default=[], help="systems of train to hold out; tested in place of val")
    parser.add_argument("--every", type=int, default=1, help="take every n-th frame alone")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of split and weights")
    parser.add_argument("--mace", action="store_true", help="train MACE, in its environment")
    parser.add_argument("--runs", type=Path, help="where stores and run stay (default: nowhere)")
    parser.add_argument("--out", type=Path, default=RESULTS / "oc20.json")
    return parser.parse_intermixed_args()


def split(options: argparse.Namespace, folder: Path) -> dict[str, Store]:
    """The parts as stores: part of each system's frames, drawn at random, and systems of known elements."""
    train, val = (open_snapshots(options.source / name) for name in ("train", "val"))
    rng, chosen = np.random.default_rng(options.seed), {"train": [], "frames": [], "systems": []}
    for group in np.unique(train.index.group):
        frames = np.flatnonzero(train.index.group == group)
        if str(train[int(frames[0])].group) in options.unseen:
            chosen["systems"] += [train[int(i)] for i in frames[:: options.every]]
            continue
        held_out = np.isin(frames, rng.choice(frames, max(1, len(frames) // 10), replace=False))
        chosen["frames"] += [train[int(i)] for i in frames[held_out][:: options.every]]
        chosen["train"] += [train[int(i)] for i in frames[~held_out][:: options.every]]
    if not options.unseen:
        known = {z for structure in chosen["train"] for z in structure.z.tolist()}
        chosen["systems"] = [s for s in val if set(s.z.tolist()) <= known][:: options.every]
    for name, structures in chosen.items():
        with StoreWriter(folder / f"{name}.lmdb", overwrite=True) as writer:
            for structure in structures:
                writer.add(structure)
            writer.finish({"source": str(options.source), "part": name})
    return {name: Store(folder / f"{name}.lmdb") for name in chosen}


def train(options: argparse.Namespace, _frames: Store, e0s: dict[int, float], folder: Path):
    """Our calculator, trained by the user's command."""
    from equitensor import Calculator

    limit = f"train.max_epochs={options.epochs}" if options.epochs else f"train.max_time={options.max_time}"
    words = ["train.max_time=null", limit, f"train.threads={options.threads}", f"seed={options.seed}"]
    words += [f"data.train={folder / 'train.lmdb'}", f"data.e0s={{{', '.join(f'{z}: {e}' for z, e in e0s.items())}}}"]
    words += ["data.valid_by=frame", "data.valid_fraction=0.02", f"output={folder / 'run'}", *options.overrides]
    command = ["-m", "equitensor"]
    if options.processor_time:
        words += [f"train.max_time={options.processor_time}", *processor_clock.ALONE]
        command = [processor_clock.__file__]
    config = str(REPOSITORY / "datasets" / "oc20" / "train.yaml")
    subprocess.run([sys.executable, *command, "train", config, *words], check=True, cwd=REPOSITORY)
    return Calculator(folder / "run" / "model.eqt")


def train_mace(options: argparse.Namespace, frames: Store, e0s: dict[int, float], folder: Path):
    """MACE's calculator, of its last checkpoint within the time."""
    import crystals

    left_out = ("compute_stress", "loss", "stress_weight", "stress_key", "max_num_epochs")
    settings = {key: value for key, value in crystals.MACE.items() if key not in left_out}
    settings |= MACE | {"E0s": str(e0s), "max_num_epochs": options.epochs or crystals.MACE["max_num_epochs"]}
    labelled = []
    for structure in frames:
        atoms = structure.to_ase()
        atoms.calc, atoms.constraints = None, []
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = structure.energy, structure.forces
        labelled.append(atoms)
    ase.io.write(folder / "train.xyz", labelled, format="extxyz")
    return crystals.trained_mace(options, folder, settings)


def predicted(calculator, structure: Structure) -> Structure:
    """Energy and forces of a structure, without those that constraints would take off."""
    atoms = structure.to_ase()
    atoms.constraints, atoms.calc = [], calculator
    return structure.replace(energy=float(atoms.get_potential_energy()), forces=np.asarray(atoms.get_forces()))


def figures(store: Store, prediction) -> dict:
    """OC20's metrics over a part, and what constant errors of systems are of those of energies (eV, eV/Angstrom)."""
    total, errors = ErrorSums(), {}
    for structure in store:
        predicted = prediction(structure)
        total.add(errors_of(structure, predicted) | scores_of(structure, predicted))
        errors.setdefault(structure.group, []).append(predicted.energy - structure.energy)
    means = {group: float(np.mean(of)) for group, of in errors.items()}
    values = total.values()
    return {
        **{name: round(values[name], 5) for name in (*SHOWN, "energy_rmse", "forces_rmse", "ewt")},
        "offset": round(float(np.mean(np.abs(list(means.values())))), 4),
        "within": round(float(np.mean([abs(e - means[group]) for group, of in errors.items() for e in of])), 4),
        "offsets": {str(group): round(mean, 3) for group, mean in means.items()},
    }


def report(tests: dict) -> None:
    """Print a row of each test and model."""
    names = (*SHOWN, "offset", "within")
    print(f"{'':32}" + "".join(f"{name:>14}" for name in names))
    for test, rows in tests.items():
        for who, row in rows.items():
            print(f"{test + ', ' + who:32}" + "".join(f"{row[name]:14.4f}" for name in names))


if __name__ == "__main__":
    main()

"""Train MACE by its own command on acetylacetone for a given wall time, and test it: our peer in accuracy.

    .venv-mace/bin/python benchmarks/mace_acac.py FOLDER --time-limit 650

FOLDER holds train_300K.xyz, test_MD_300K.xyz, test_MD_600K.xyz and isolated_atoms.xyz. MACE's second stage
begins at an epoch, not at a time, so a probe of three epochs, not counted, first finds how many fit.
The run is ended at the limit and its last best checkpoint (EMA weights) is tested, in MACE's float32.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import ase.io
import numpy as np
import torch
from calculators import e3nn_constants
from environment import RESULTS, append, environment

TESTS = ("test_MD_300K", "test_MD_600K")
VALID = 50
PROBE_EPOCHS = 3
SETTINGS = {
    "name": "acac",
    "model": "ScaleShiftMACE",
    "hidden_irreps": "32x0e + 32x1o",
    "num_interactions": 2,
    "correlation": 3,
    "max_ell": 3,
    "r_max": 5.0,
    "scaling": "rms_forces_scaling",
    "batch_size": 5,
    "valid_batch_size": 50,
    "lr": 0.01,
    "energy_weight": 1.0,
    "forces_weight": 100.0,
    "default_dtype": "float32",
    "device": "cpu",
    "plot": False,
}
FLAGS = ("amsgrad", "keep_checkpoints")
EMA = ("--ema", "--ema_decay=0.99")


def main() -> None:
    """Probe, train until the limit, test, append the figures to the result file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_split(options, work)
        epochs = options.epochs or fitting_epochs(options, work)
        stage_two = max(1, int(0.8 * epochs))
        extra = [*EMA, f"--max_num_epochs={epochs}", "--stage_two", f"--start_stage_two={stage_two}"]
        seconds = train(options, work, "run", extra, options.time_limit)
        speed = progress(work / "run")
        model = finish(options, work)
        tests = {name: errors(model, options.data / f"{name}.xyz") for name in TESTS}
    result = {
        "environment": environment("float32", seed=options.seed),
        "model": "mace 32x0e+32x1o",
        "settings": {**SETTINGS, "epochs_planned": epochs, "stage_two_from_epoch": stage_two},
        "wall_s": round(seconds, 1),
        "training": speed,
        "tests": tests,
    }
    append(result, options.out)
    for name, row in tests.items():
        print(f"{name}: RMSE {row['energy_rmse_meV']:.2f} meV, {row['forces_rmse_meV_per_A']:.2f} meV/A")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the acetylacetone data")
    parser.add_argument("--time-limit", type=float, default=650.0, help="seconds of wall time, start-up included")
    parser.add_argument("--epochs", type=int, help="epochs to plan for (default: as many as fit, by a probe)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "mace_acac.json")
    return parser.parse_args()


def write_split(options: argparse.Namespace, work: Path) -> None:
    """Write 450 training and 50 validation frames under MACE's label names."""
    frames = [labelled(atoms) for atoms in ase.io.read(options.data / "train_300K.xyz", ":")]
    order = np.random.default_rng(options.seed).permutation(len(frames))
    ase.io.write(work / "valid.xyz", [frames[i] for i in order[:VALID]])
    ase.io.write(work / "train.xyz", [frames[i] for i in order[VALID:]])


def labelled(atoms):
    """The same molecule with its energy and forces as REF_energy and REF_forces."""
    copied = atoms.copy()
    copied.info = {"REF_energy": atoms.get_potential_energy()}
    copied.arrays["REF_forces"] = atoms.get_forces()
    return copied


def isolated_energies(path: Path) -> dict[int, float]:
    """Atomic number -> energy of the isolated atom, eV."""
    return {int(atoms.numbers[0]): float(atoms.get_potential_energy()) for atoms in ase.io.read(path, ":")}


def command(options: argparse.Namespace, work: Path, run: str, extra: list[str]) -> list[str]:
    """The command line of mace_run_train in this environment."""
    words = [str(Path(sys.executable).with_name("mace_run_train"))]
    words += [f"--{key}={value}" for key, value in SETTINGS.items()] + [f"--{flag}" for flag in FLAGS]
    words += [f"--train_file={work / 'train.xyz'}", f"--valid_file={work / 'valid.xyz'}"]
    words += [f"--E0s={isolated_energies(options.data / 'isolated_atoms.xyz')}", f"--seed={options.seed}"]
    return [*words, f"--work_dir={work / run}", *extra]


def train(
    options: argparse.Namespace, work: Path, run: str, extra: list[str], limit: float | None, processor_time=None
) -> float:
    """Run mace_run_train until it ends, `limit` seconds have passed or it had `processor_time`; gives the wall time."""
    (work / run).mkdir(exist_ok=True)
    output = work / run / "output.txt"
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    started = time.monotonic()
    with output.open("w") as file:
        process = subprocess.Popen(
            command(options, work, run, extra), stdout=file, stderr=subprocess.STDOUT, env=surroundings
        )
        try:
            code = process.wait(limit) if processor_time is None else wait(process, processor_time)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            code = 0
    if code:
        sys.exit(f"mace_run_train failed:\n{output.read_text()[-3000:]}")
    return time.monotonic() - started


def wait(process: subprocess.Popen, processor_time: float) -> int:
    """Its exit code; raises TimeoutExpired once its threads have used `processor_time` seconds together."""
    while (code := process.poll()) is None:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        if (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > processor_time:
            raise subprocess.TimeoutExpired(process.args, processor_time)
        time.sleep(1)
    return code


def epoch_times(folder: Path) -> list[float]:
    """Seconds since the epoch at which each training epoch was logged (the evaluation before left out)."""
    logs = [log for log in (folder / "logs").glob("*.log") if not log.stem.endswith("debug")]
    text = "".join(log.read_text() for log in logs)
    lines = re.findall(r"^(\S+ \S+) INFO: Epoch \d+:", text, flags=re.MULTILINE)
    return [datetime.fromisoformat(line).timestamp() for line in lines]


def fitting_epochs(options: argparse.Namespace, work: Path) -> int:
    """How many epochs fit into the time limit, from a probe that is not counted."""
    started = time.time()
    train(options, work, "probe", [*EMA, f"--max_num_epochs={PROBE_EPOCHS}"], None)
    times = epoch_times(work / "probe")
    epoch = (times[-1] - times[0]) / (len(times) - 1)
    return max(2, int((options.time_limit - (times[0] - epoch - started)) / epoch))


def progress(folder: Path) -> dict:
    """Epochs done and training structures per second, validation included."""
    times = epoch_times(folder)
    frames = len(ase.io.read(folder.parent / "train.xyz", ":"))
    per_epoch = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else float("nan")
    return {
        "epochs_done": len(times),
        "structures_per_s": round(frames / per_epoch, 1),
        "valid_frames": VALID,
    }


def finish(options: argparse.Namespace, work: Path) -> Path:
    """Let MACE turn its latest whole checkpoint into a model file, with no further training."""
    checkpoints = sorted((work / "run" / "checkpoints").glob("*.pt"), key=lambda path: path.stat().st_mtime)
    while checkpoints and not readable(checkpoints[-1]):
        checkpoints.pop().unlink()
    if not checkpoints:
        sys.exit("no checkpoint was written within the time limit: allow more time")
    second = "_swa" in checkpoints[-1].name
    stage = ["--stage_two", "--start_stage_two=0", "--max_num_epochs=1"] if second else ["--max_num_epochs=0"]
    train(options, work, "run", [*stage, "--restart_latest"], None)
    return work / "run" / ("acac_stagetwo.model" if second else "acac.model")


def readable(path: Path) -> bool:
    """Whether a checkpoint is whole; one that the end of the run cut short is not."""
    try:
        torch.load(path, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, OSError):
        return False
    return True


def errors(model: Path, path: Path) -> dict:
    """RMSE and MAE of a MACE model file on the frames of `path`: meV per molecule, meV/A per component."""
    with e3nn_constants():
        from mace.calculators import MACECalculator
    calculator = MACECalculator(model_paths=str(model), device="cpu", default_dtype="float32")
    energy, forces = [], []
    for frame in ase.io.read(path, ":"):
        atoms = frame.copy()
        atoms.calc = calculator
        forces.append(atoms.get_forces() - frame.get_forces())
        energy.append(atoms.get_potential_energy() - frame.get_potential_energy())
    return {
        "energy_rmse_meV": round(1e3 * float(np.sqrt(np.mean(np.square(energy)))), 3),
        "energy_mae_meV": round(1e3 * float(np.mean(np.abs(energy))), 3),
        "forces_rmse_meV_per_A": round(1e3 * float(np.sqrt(np.mean(np.square(forces)))), 3),
        "forces_mae_meV_per_A": round(1e3 * float(np.mean(np.abs(forces))), 3),
        "structures": len(energy),
    }


if __name__ == "__main__":
    main()

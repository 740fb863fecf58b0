"""Result files: JSON in benchmarks/results, with the machine and the commit that gave each figure."""

import json
import subprocess
from pathlib import Path

from equitensor.bench.machine import environment as machine_environment

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"


def environment(dtype: str, **extra) -> dict:
    """Machine, threads, load, versions, dtype, date, and the commit of the checkout."""
    return machine_environment(dtype, commit=commit(), **extra)


def commit() -> str | None:
    """Short hash of the checkout, "+" behind it where the package or the benchmarks differ from it."""
    head = git("rev-parse", "--short=10", "HEAD")
    if head is None:
        return None
    return head + (
        "+" if git("status", "--porcelain", "--", "equitensor", "benchmarks/*.py", "csrc", "datasets") else ""
    )


def git(*arguments: str) -> str | None:
    """Output of a git command in this repository; None without git or outside a checkout."""
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def write(result: dict, path: Path) -> None:
    """Write one result as indented JSON; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(path)


def append(result: dict, path: Path) -> None:
    """Add one result to the JSON list in `path`."""
    earlier = json.loads(path.read_text()) if path.exists() else []
    write([*earlier, result], path)

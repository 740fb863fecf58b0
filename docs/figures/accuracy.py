"""Write docs/accuracy.md from the result files of benchmarks/accuracy.py and benchmarks/mace_acac.py.

.venv/bin/python docs/figures/accuracy.py
"""

import json
import statistics
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results"
INTRODUCTION = """# Accuracy per training time

Errors after training for a given time. Validation structures are taken from the training data; test structures are
not used before the end. Errors are RMSEs unless stated otherwise, for energies in meV per structure and for forces in
meV/A per component. `docs/figures/accuracy.py` generates this page from `benchmarks/results/`.
"""


def main() -> None:
    """Every section whose results exist, in one file."""
    sections = [acetylacetone(), revised_md17(), oc20()]
    text = "\n".join([INTRODUCTION, *(section for section in sections if section)])
    (REPOSITORY / "docs" / "accuracy.md").write_text(text)


def entries(name: str) -> list[dict]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def latest(results: list[dict]) -> list[dict]:
    """The last entry of each setting; where the settings are the same in all, seeds are taken together."""
    last: dict[str, dict] = {}
    for entry in results:
        tests, threads = sorted(entry["runs"][0]["tests"]), entry["environment"]["threads"]
        key = json.dumps([entry["max_time"], sorted(entry["overrides"]), tests, threads, entry["settings"]])
        last[key] = together(last[key], entry) if key in last else entry
    return list(last.values())


def together(before: dict, entry: dict) -> dict:
    """One entry of the runs of two, the later where a seed was run twice."""
    runs = {run["seed"]: run for run in [*before["runs"], *entry["runs"]]}
    median = {
        test: {name: statistics.median(run["tests"][test][name] for run in runs.values()) for name in row}
        for test, row in entry["median"].items()
    }
    note = entry["note"] if len(runs) == len(entry["runs"]) else ""
    return {**entry, "runs": list(runs.values()), "median": median, "note": note}


def machine(entry: dict) -> str:
    environment = entry["environment"]
    versions = ", ".join(
        f"{name} {environment['versions'][name]}" for name in ("torch", "mace-torch") if name in environment["versions"]
    )
    threads = f"{environment['threads']} thread" + "s" * (environment["threads"] > 1)
    return (
        f"{environment['machine']['cpu']}, {environment['machine']['cores']} cores, {threads}, "
        f"{environment['dtype']}, {versions}, {environment['date'][:10]}"
    )


def label(entry: dict) -> str:
    """What was trained, for how long, with how many seeds."""
    seeds = len(entry["runs"])
    words = [word for word in entry["overrides"] if not word.startswith(("data.", "output"))]
    # Results older than the prior of smooth radial functions; DimeNet++ has none.
    if "smoothness" not in entry["settings"]["model"] and not any("dimenet" in word for word in words):
        words.append("model.smoothness=0")
    times = [int(part) for part in entry["max_time"].split(":")]
    minutes = 60 * times[0] + times[1]
    median = f"median of {seeds} seeds" if seeds > 1 else "one seed"
    note = f" ({entry['note']})" if entry["note"] else ""
    median += f", {entry['environment']['threads']} threads" if entry["environment"]["threads"] > 1 else ", 1 thread"
    return f"equitensor{', ' if words else ''}{' '.join(words)}, {minutes} min, {median}{note}"


def machines(results: list[dict]) -> str:
    """A line for each machine; of several, with the rows of the table that were measured on it, a row an entry."""
    numbers: dict[str, list[str]] = {}
    for number, entry in enumerate(results, 1):
        numbers.setdefault(machine(entry), []).append(str(number))
    rows = {name: f"row{'s' * (len(listed) > 1)} {', '.join(listed)}: " for name, listed in numbers.items()}
    return "\n".join(f"- {rows[name] if len(rows) > 1 else ''}{name}" for name in rows)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def acetylacetone() -> str:
    ours, mace = latest(entries("accuracy_acac")), entries("mace_acac")[-1:]
    if not ours:
        return ""
    rows = []
    for entry in ours:
        speed = sorted(run["summary"]["structures_per_second"] for run in entry["runs"])[len(entry["runs"]) // 2]
        rows.append([label(entry), *pairs(entry["median"]), f"{speed:.0f}"])
    for entry in mace:
        speed = entry["training"]["structures_per_s"]
        rows.append([f"MACE 32x0e+32x1o, {entry['wall_s'] / 60:.0f} min", *pairs(entry["tests"]), f"{speed:.0f}"])
    header = ["", "300 K: energy, forces", "600 K: energy, forces", "training structures/s"]
    return f"## Acetylacetone, trained on 450 frames at 300 K\n\n{table(header, rows)}\n{machines([*ours, *mace])}\n"


def pairs(tests: dict) -> list[str]:
    rows = (tests[name] for name in ("test_MD_300K", "test_MD_600K"))
    return [f"{row['energy_rmse_meV']:.2f}, {row['forces_rmse_meV_per_A']:.1f}" for row in rows]


def revised_md17() -> str:
    results = latest(entries("accuracy_rmd17"))
    if not results:
        return ""
    rows = []
    for entry in results:
        for test, row in entry["median"].items():
            molecule = test.split("_")[0]
            errors = f"{row['energy_mae_meV']:.2f}, {row['forces_mae_meV_per_A']:.1f}"
            rows.append([molecule, label(entry), errors, f"{row['structures']}"])
    header = ["molecule", "", "MAE: energy, forces", "test structures"]
    return f"## Revised MD17, 950 frames, the same recipe\n\n{table(header, rows)}\n{machines(results)}\n"


def oc20() -> str:
    results = latest(entries("accuracy_oc20"))
    if not results:
        return ""
    rows = []
    for entry in results:
        errors = entry["runs"][0]["summary"]["errors"]
        for name, row in errors.items():
            if name.startswith("valid"):
                what = "E0s and zero forces" if name != "valid" else label(entry)
                rows.append(["held-out frames", what, *oc20_errors({k: 1e3 * v for k, v in row.items()}, "")])
        for row in entry["median"].values():
            rows.append(["unseen systems", label(entry), *oc20_errors(row, "_meV", "_meV_per_A")])
    header = ["", "", "energy: RMSE, MAE", "forces: RMSE, MAE"]
    return f"## OC20, 19 systems\n\n{table(header, rows)}\n{machines(results)}\n"


def oc20_errors(row: dict, energy: str, forces: str = "") -> list[str]:
    return [
        f"{row['energy_rmse' + energy]:.0f}, {row['energy_mae' + energy]:.0f}",
        f"{row['forces_rmse' + forces]:.0f}, {row['forces_mae' + forces]:.1f}",
    ]


if __name__ == "__main__":
    main()

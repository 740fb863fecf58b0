"""What benchmarks/organics.py has measured, as a section of docs/organics.md."""

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "organics.json"
_INTRODUCTION = """## Beside MACE

MACE, 32x0e+32x1o, and `datasets/organics/train.yaml`, each trained on the same frames for the same time of one thread's
processor in float32, with the errors of the held-out molecules and pairs of the card (`benchmarks/organics.py`):
"""
_OF_MOLECULES = {
    "force MAE (meV/A)": "forces, meV/A",
    "energy MAE (meV/atom)": "energy, meV/atom",
    "relative energy MAE (kcal/mol)": "relative energy, kcal/mol",
}
SHOWN = {
    "unseen molecules": _OF_MOLECULES,
    "larger molecules": _OF_MOLECULES,
    "unseen pairs": {"interaction energy MAE (kcal/mol)": "interaction energy, kcal/mol"},
}


def table(results: list[dict]) -> str:
    """The last result of each model, a column each: mean absolute errors."""
    last = list({result["model"]: result for result in results}.values())
    rows = [["MAE", *(result["model"] for result in last)], ["---"] * (1 + len(last))]
    for test, names in SHOWN.items():
        for name, said in names.items():
            rows.append([f"{test}: {said}", *(f"{result['tests'][test][name]:g}" for result in last)])
    rows.append(["processor time, s", *(f"{result['processor_time_s']}" for result in last)])
    rows.append(["frames to train on", *(f"{result['frames']['train']}" for result in last)])
    environment = last[-1]["environment"]
    known = {name: version for result in last for name, version in result["environment"]["versions"].items()}
    versions = ", ".join(f"{name} {known[name]}" for name in ("equitensor", "mace-torch", "torch") if name in known)
    made = f"On one thread of {environment['machine']['cpu']}; {versions}, {environment['date'][:10]}."
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{made}"


def page() -> str:
    """The section; nothing as long as there are no results."""
    return f"{_INTRODUCTION}\n{table(json.loads(RESULTS.read_text()))}" if RESULTS.is_file() else ""

"""What benchmarks/fine_tuning.py has measured, as a table; docs/figures/fine_tuning.py draws it."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
RESULTS, SETTINGS = _FOLDER / "fine_tuning.json", _FOLDER / "fine_tuning_settings.json"


class Point(NamedTuple):
    """The errors of both kinds of training on one test with one number of frames, seed by seed."""

    data: str
    test: str
    frames: int
    seeds: tuple[int, ...]
    scratch: dict[str, list[float]]
    tuned: dict[str, list[float]]

    def median(self, kind: str, error: str) -> float:
        """Over the seeds, of "scratch" or "tuned"."""
        return statistics.median(getattr(self, kind)[error])

    @property
    def ratio(self) -> float:
        """Median RMSE of forces after fine-tuning over that from scratch."""
        return self.median("tuned", "forces_rmse") / self.median("scratch", "forces_rmse")


def last_tuned(runs: list[dict]) -> dict:
    """The last fine-tuning."""
    return next(run for run in reversed(runs) if run["kind"] == "fine-tuned")


def last_of(runs: list[dict], *same: str) -> list[dict]:
    """The fine-tunings that have these in common with the last one, and all from scratch of the same time."""
    last = last_tuned(runs)
    return [
        run
        for run in runs
        if run["seconds"] == last["seconds"]
        and (run["kind"] == "scratch" or all(run[name] == last[name] for name in same))
    ]


def points(runs: list[dict]) -> list[Point]:
    """Of the last model, settings and time, with the seeds that both kinds have, by test and frames."""
    kinds: dict[tuple, dict[str, dict[int, dict]]] = defaultdict(lambda: {"scratch": {}, "fine-tuned": {}})
    for run in last_of(runs, "model", "settings"):
        for test, errors in run["tests"].items():
            kinds[run["data"], test, run["frames"]][run["kind"]][run["seed"]] = errors
    listed = []
    for (data, test, frames), both in kinds.items():
        seeds = tuple(sorted(both["scratch"].keys() & both["fine-tuned"].keys()))
        if seeds:
            errors = (_by_error([both[kind][seed] for seed in seeds]) for kind in ("scratch", "fine-tuned"))
            listed.append(Point(data, test, frames, seeds, *errors))
    order = {key: place for place, key in enumerate(dict.fromkeys((p.data, p.test) for p in listed))}
    return sorted(listed, key=lambda p: (order[p.data, p.test], p.frames))


def _by_error(rows: list[dict]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def table(results: dict) -> str:
    """Medians over the seeds, and what they were made with."""
    head = ["", "frames", "seeds", "forces: scratch", "fine-tuned", "ratio", "energy: scratch", "fine-tuned"]
    rows = [head, ["---"] * len(head)]
    for point in points(results["runs"]):
        cells = [f"{point.data}, {point.test}", f"{point.frames}", f"{len(point.seeds)}"]
        cells += [f"{point.median(kind, 'forces_rmse'):.1f}" for kind in ("scratch", "tuned")] + [f"{point.ratio:.2f}"]
        rows.append([*cells, *(f"{point.median(kind, 'energy_rmse'):.1f}" for kind in ("scratch", "tuned"))])
    return f"{_drawn(rows)}\n\n{made_with(results)} Fine-tuned with {_words(last_tuned(results['runs']))}."


def _words(run: dict) -> str:
    """The settings of a fine-tuning."""
    return ", ".join(f"`{word}`" for word in run["settings"]) or "the defaults"


def _drawn(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def made_with(results: dict) -> str:
    """Time, machine, versions and model of the last runs."""
    last = last_tuned(results["runs"])
    environment = results["environments"][last["environment"]]
    versions = ", ".join(f"{name} {environment['versions'][name]}" for name in ("equitensor", "torch"))
    return (
        f"Each training had {last['seconds']} s of the processor, one thread, {environment['dtype']}, on "
        f"{environment['machine']['cpu']}; {versions}, {environment['date'][:10]}. Digest of the weights that "
        f"fine-tuning starts from: {last['model']}."
    )


def page() -> str:
    """The table of the committed results."""
    return table(json.loads(RESULTS.read_text()))


def settings_page() -> str:
    """That of the settings that were tried."""
    return settings_table(json.loads(SETTINGS.read_text()))


def settings_table(results: dict) -> str:
    """RMSE of forces on frames that were held out, medians over the seeds, with that from scratch first."""
    errors: dict[str, dict[str, list[float]]] = {"from scratch": defaultdict(list)}
    for run in last_of(results["runs"], "model"):
        name = "from scratch" if run["kind"] == "scratch" else _words(run)
        of = errors.setdefault(name, defaultdict(list))
        of[f"{run['data']}, {run['frames']} frames"].append(run["tests"]["held out"]["forces_rmse"])
    columns = list(dict.fromkeys(column for row in errors.values() for column in row))
    rows = [["", *columns], ["---"] * (1 + len(columns))]
    for name, row in errors.items():
        rows.append([name, *(f"{statistics.median(row[column]):.1f}" if row[column] else "" for column in columns)])
    return f"{_drawn(rows)}\n\n{made_with(results)}"

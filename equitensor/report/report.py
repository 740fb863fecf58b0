"""The report of a run: its files, and its model on the data that were held out, written as one page."""

from pathlib import Path

from ase.data import chemical_symbols

from equitensor.errors import InputError
from equitensor.interfaces.backend import open_engine
from equitensor.models import read_header
from equitensor.report.held_out import Part, evaluated, parts
from equitensor.report.page import page
from equitensor.report.part import part_content
from equitensor.report.progress import progress_content
from equitensor.report.run_files import RunFiles, read_run
from equitensor.report.tables import error_table
from equitensor.training import load_config
from equitensor.versions import versions
from equitensor.whole_file import whole_file

MOST = 1000  # structures of a part that are evaluated, unless another number is asked for


def write_report(
    folder, out=None, overrides=(), most: int = MOST, device="auto", **computing
) -> tuple[Path, list[str]]:
    """Write the page (by default report.html in the run's folder); its path, and what it could not show.

    overrides: "key.sub=value" of the run's config, for data that have moved; most: structures of each part that are
    evaluated; device and computing: as `equitensor.interfaces.backend.open_engine`. Raises InputError where the folder
    is not that of a run, or its model has not been saved yet.
    """
    folder = Path(folder)
    run = read_run(folder)
    model = folder / "model.eqt"
    if not model.is_file():
        raise InputError(f"{folder} has no predictions yet: model.eqt is written after the first validation")
    header = read_header(model)
    config = load_config(folder / "config.yaml", overrides)
    content = progress_content(run) | {"facts": _facts(header), "versions": _versions(header), "tables": _tables(run)}
    engine, _ = open_engine(model, device, None, skin=0.0, **computing)
    _add_parts(content, list(parts(folder, config)), engine, _e0s(header), most)
    path = folder / "report.html" if out is None else Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(page(content), encoding="utf-8")
    return path, content["notes"]


def _e0s(header: dict) -> dict[int, float]:
    return {int(z): e0 for z, e0 in header["e0s"].items()}


def _add_parts(content: dict, parts: list[Part], engine, e0s: dict[int, float], most: int) -> None:
    notes, shown = content["notes"], []
    for part in parts:
        if part.why_not:
            notes.append(f"{part.name}: its predictions are not shown: {part.why_not}")
            continue
        if part.doubt:
            notes.append(f"{part.name}: {part.doubt}")
        try:
            evaluation = evaluated(part, engine, most)
        except InputError as error:
            notes.append(f"{part.name}: its predictions are not shown: {error}")
            continue
        shown.append((part, evaluation))
    for part, evaluation in shown:
        total, first = len(part.indices) - sum(evaluation.excluded.values()), len(content["structures"])
        one, structures = part_content(part.name, evaluation, e0s, total, len(shown), first)
        content["parts"].append(one)
        content["structures"] += structures


def _tables(run: RunFiles) -> list[dict]:
    """The closing table of a run that has ended."""
    return [] if run.summary is None else [error_table("Errors of the best model", "part", run.summary["errors"])]


def _facts(header: dict) -> list[list[str]]:
    """(name, value) of the model, in words."""
    settings, told = header["settings"], header["provenance"]
    facts = [
        ("architecture", settings["architecture"]),
        ("product", settings.get("product")),
        ("parameters", header.get("parameters")),
        ("cutoff", f"{header['cutoff']:g} Angstrom"),
        ("elements", " ".join(chemical_symbols[int(z)] for z in header["elements"])),
        ("precision", header["dtype"]),
        ("trained on", ", ".join(told["labels"]) if told.get("labels") else None),
        ("training structures", told.get("training_structures")),
        ("validation structures", told.get("validation_structures")),
        ("E0s", told.get("e0s")),
    ]
    return [[name, str(value)] for name, value in facts if value is not None]


def _versions(header: dict) -> dict:
    """Of this report beside those that the model was trained with, which earlier files do not say."""
    trained, now = header["provenance"].get("versions", {"equitensor": header["equitensor"]}), versions()
    rows = [[name, trained.get(name, ""), now.get(name, "")] for name in now | trained]
    columns = [{"title": title, "unit": ""} for title in ("package", "in training", "in this report")]
    return {"title": "", "columns": columns, "rows": rows}

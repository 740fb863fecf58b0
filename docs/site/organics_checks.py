"""What the checks of `organics` came to, from the files that datasets/organics/check_*.py write."""

import json
from pathlib import Path

from equitensor.interfaces.committee import digest_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "datasets" / "organics" / "results"
PICTURE = "images/organics_torsions.png"
# Name of the file, whether a line of the table is one of its entries, and what it is about.
CHECKS = (
    (
        "dynamics",
        False,
        "Molecular dynamics of unseen molecules, {picoseconds:g} ps of Langevin dynamics and {nve:g} ps of NVE each, "
        "with a time step of {timestep:g} fs. If a bond breaks, GFN2-xTB continues from an earlier frame, and relaxes "
        "the broken geometry.",
    ),
    (
        "relaxations",
        False,
        "Geometries of unseen molecules relaxed to {fmax:g} eV/Angstrom by the model and by GFN2-xTB from the same "
        "starts. RMSD of all atoms after superposition.",
    ),
    (
        "torsions",
        True,
        "Torsional profiles of drug fragments in steps of {step:g} degrees; each method relaxes all other coordinates. "
        "Barriers of the model and of GFN2-xTB.",
    ),
    ("speed", True, "Time of one call for energy and forces on one thread, compared with GFN2-xTB from tblite."),
)


def section() -> str:
    """A table of each check that was made with the model that is installed; a sentence where there is none."""
    model = digest_of("organics")
    parts = [part for name, by_entry, about in CHECKS if (part := _part(name, by_entry, about, model))]
    return "\n\n".join(parts) or "There are no results for the model file of this version yet."


def _part(name: str, by_entry: bool, about: str, model: str) -> str:
    """One check; empty where it was not made, or with another model."""
    path = RESULTS / f"{name}.json"
    content = json.loads(path.read_text()) if path.exists() else {"about": {"model": None}}
    if content["about"]["model"] != model:
        return ""
    picture = [f"![Torsional profiles of the model and of GFN2-xTB]({PICTURE})"] if name == "torsions" else []
    text = f"{about.format(**content['about'])} ({_machine(content['environment'])})"
    return "\n\n".join([text, table(content["summary"], by_entry), *picture])


def _machine(environment: dict) -> str:
    versions = environment["of_reference"] | {"torch": environment["versions"]["torch"]}
    named = ", ".join(f"{package} {version}" for package, version in versions.items())
    return f"{environment['machine']['cpu']}, one thread, {environment['dtype']}, {named}, {environment['date'][:10]}"


def table(summary: dict[str, dict], by_entry: bool) -> str:
    """Entries as lines, or as columns."""
    names = list(dict.fromkeys(name for values in summary.values() for name in values))
    if by_entry:
        header, lines = names, {entry: [values.get(name) for name in names] for entry, values in summary.items()}
    else:
        header, lines = list(summary), {name: [values.get(name) for values in summary.values()] for name in names}
    rows = [[line, *map(_text, values)] for line, values in lines.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [["", *header], ["---"] * (len(header) + 1), *rows])


def _text(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"{each:g}" for each in value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

"""Model files by name: those that come with equitensor are found wherever a model file is taken."""

import difflib
from pathlib import Path

from equitensor.errors import InputError

SHIPPED = Path(__file__).parent / "shipped"


def shipped_models() -> dict[str, Path]:
    """The files of the models that come with equitensor, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.eqt"))}


def model_path(model: str | Path) -> Path:
    """The file of a model: this path if it is a file, otherwise the shipped model with this name.

    Raises InputError if there is neither, with the names of the shipped models and the closest match.
    """
    path, known = Path(model), shipped_models()
    if path.is_file():
        return path
    if str(model) in known:
        return known[str(model)]
    if path.name != str(model):  # a path, not a name
        raise InputError(f"{model}: there is no such model file")
    near = difflib.get_close_matches(path.stem, known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"those are {', '.join(known)}"
    raise InputError(
        f"{model}: there is no such model file, nor does equitensor come with a model of that name: {meant}"
    )


def own_file(model: str | Path) -> Path:
    """`model_path` for a file that will be modified. Raises InputError for shipped models, which are read-only."""
    path = model_path(model)
    if path.resolve().parent == SHIPPED.resolve():
        raise InputError(f"{model} comes with equitensor and stays as it is: copy {path} and name the copy")
    return path

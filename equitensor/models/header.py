"""The header of a model file, read without torch."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from equitensor import __version__
from equitensor.errors import InputError
from equitensor.models.by_name import model_path

FORMAT = 3  # 2 lacks the tables by which models are evaluated without torch
FORMAT_WITH_D3 = 4  # for what earlier readers, which would leave the dispersion out, must not take
READABLE = (2, FORMAT, FORMAT_WITH_D3)
TABLES = "coupling."  # constants beside the weights, which loading in torch computes itself
KINDS = {  # what a header must hold
    "settings": dict,
    "cutoff": float,
    "elements": list,
    "e0s": dict,
    "scale": float,
    "shift": float,
    "dtype": str,
    "harmonics": str,
    "provenance": dict,
}


def read_header(path: str | Path) -> dict:
    """The header of a model file, given by its path or by the name of a shipped model.

    Raises InputError if it is not a model file, or has a newer format than this version reads.
    """
    path = model_path(path)
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get("equitensor")
    except SafetensorError as error:
        raise InputError(f"{path} is not a model file, or is damaged ({error}): give the model.eqt of a run") from None
    if text is None:
        raise InputError(f"{path} holds weights, but no equitensor header: give the model.eqt of a run")
    header = _parsed(text, path)
    if header["format"] not in READABLE:
        newer = header["format"] > max(READABLE)
        what = "upgrade equitensor" if newer else "train it again, or use the equitensor it is of"
        raise InputError(
            f"{path} is of model format {header['format']}, written by equitensor {header['equitensor']}; this is "
            f"{__version__}, which reads formats up to {max(READABLE)}: {what}"
        )
    return header


def refuse_without_d3(name, d3: str | None) -> None:
    """Raise InputError for a model of this name that learned labels without their dispersion, if it did."""
    if d3 is not None:
        raise InputError(
            f"{name} learned labels without their dispersion (d3 {d3}), which equitensor.Calculator adds: "
            "take that, or say without_d3=True for energies and forces that lack it"
        )


def _parsed(text: str, path: Path) -> dict:
    """The header with all that it must hold; another format, which may hold other things, is for the caller to name."""
    try:
        header = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: its header is damaged ({error}): take another copy of the file") from None
    if not isinstance(header, dict) or not isinstance(header.get("format"), int) or "equitensor" not in header:
        raise InputError(f"{path}: its header is damaged (no format): take another copy of the file")
    if not isinstance(header.get("d3"), str | None) or (header["format"] == FORMAT_WITH_D3 and not header.get("d3")):
        raise InputError(f"{path}: its header is damaged (d3): take another copy of the file")
    wrong = [name for name, kind in KINDS.items() if not isinstance(header.get(name), kind)]
    if wrong and header["format"] in READABLE:
        raise InputError(f"{path}: its header is damaged ({', '.join(wrong)}): take another copy of the file")
    return header

"""The model file: safetensors weights with a JSON header that says everything else. No pickle."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from equitensor import __version__
from equitensor.errors import InputError
from equitensor.models.architectures import build
from equitensor.models.potential import Potential
from equitensor.o3 import CONVENTION
from equitensor.whole_file import whole_file

FORMAT = 3  # 2 lacks the tables by which models are evaluated without torch
READABLE = (2, 3)
TABLES = "coupling."  # constants beside the weights, which loading in torch computes itself
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
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
UNITS = {
    "energy": "eV",
    "length": "Angstrom",
    "forces": "eV/Angstrom",
    "stress": "eV/Angstrom^3, tension positive",
}


def save(model: Potential, path, provenance: dict | None = None) -> None:
    """Write a potential to one file, whole or not at all; `provenance` is anything JSON can hold."""
    path = Path(path)
    header = {
        "format": FORMAT,
        "equitensor": __version__,
        "settings": model.settings,
        "cutoff": model.cutoff,
        "elements": list(model.elements),
        "e0s": {str(z): e0 for z, e0 in zip(model.elements, model.e0s.tolist(), strict=True)},
        "scale": model.scale,
        "shift": model.shift,
        "dtype": str(model.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in model.parameters()),
        "units": UNITS,
        "harmonics": CONVENTION,
        "provenance": provenance or {},
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    weights.update(model.backbone.tables() if hasattr(model.backbone, "tables") else {})
    with whole_file(path) as partial:
        save_file(weights, partial, metadata={"equitensor": json.dumps(header)})


def read_header(path) -> dict:
    """The header of a model file. Raises InputError where it is not one, or of a newer format than this reads."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("equitensor")
    except SafetensorError as error:
        raise InputError(f"{path} is not a model file, or is damaged ({error}): give the model.eqt of a run") from None
    if text is None:
        raise InputError(f"{path} holds weights, but no equitensor header: give the model.eqt of a run")
    header = _parsed(text, path)
    if header["format"] not in READABLE:
        what = "upgrade equitensor" if header["format"] > FORMAT else "train it again, or use the equitensor it is of"
        raise InputError(
            f"{path} is of model format {header['format']}, written by equitensor {header['equitensor']}; this is "
            f"{__version__}, which reads format {FORMAT}: {what}"
        )
    if header["harmonics"] != CONVENTION:
        raise InputError(f"{path} uses the harmonics convention {header['harmonics']!r}, this reads {CONVENTION!r}")
    return header


def _parsed(text: str, path: Path) -> dict:
    """The header with all that it must hold; another format, which may hold other things, is for the caller to name."""
    try:
        header = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: its header is damaged ({error}): take another copy of the file") from None
    if not isinstance(header, dict) or not isinstance(header.get("format"), int) or "equitensor" not in header:
        raise InputError(f"{path}: its header is damaged (no format): take another copy of the file")
    wrong = [name for name, kind in KINDS.items() if not isinstance(header.get(name), kind)]
    if wrong and header["format"] in READABLE:
        raise InputError(f"{path}: its header is damaged ({', '.join(wrong)}): take another copy of the file")
    return header


@torch.inference_mode(False)  # weights made under it could never be differentiated
def load(path, device="cpu", dtype: torch.dtype | None = None) -> Potential:
    """The potential of a model file, in evaluation mode, on any device, in its own dtype unless one is given."""
    header = read_header(path)
    settings = dict(header["settings"])
    try:
        num_neighbors = settings.pop("num_neighbors")
        e0s = {int(z): e0 for z, e0 in header["e0s"].items()}
        stored = _DTYPES[header["dtype"]]
        model = build(settings, header["elements"], e0s, header["scale"], header["shift"], num_neighbors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: its header is damaged ({error!r}): take another copy of the file") from None
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if not name.startswith(TABLES)]  # noqa: SIM118 (not a dict)
        weights = {name: file.get_tensor(name) for name in names}
    model = model.to(dtype=stored)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path}: its weights do not fit its settings {settings}: {error}") from None
    model = model.to(device=device, dtype=dtype or model.dtype)
    return model.eval()

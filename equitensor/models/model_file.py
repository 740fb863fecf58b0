"""The model file: safetensors weights with a JSON header that says everything else. No pickle."""

import json
import logging
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as pack
from safetensors.torch import save_file

from equitensor import __version__
from equitensor.errors import InputError
from equitensor.models.architectures import build, packages
from equitensor.models.backbone import EvaluatedBackbone
from equitensor.models.by_name import model_path
from equitensor.models.error_bars import PREFIX, digest, of_tensors
from equitensor.models.header import FORMAT, FORMAT_WITH_D3, TABLES, read_header, refuse_without_d3
from equitensor.models.potential import Potential
from equitensor.o3 import CONVENTION
from equitensor.whole_file import whole_file

_log = logging.getLogger(__name__)
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
UNITS = {
    "energy": "eV",
    "length": "Angstrom",
    "forces": "eV/Angstrom",
    "stress": "eV/Angstrom^3, tension positive",
}


def save(model: Potential, path: str | Path, provenance: dict | None = None) -> None:
    """Write a potential to a single file, completely or not at all; provenance is anything that JSON can represent."""
    path = Path(path)
    weights, header = _contents(model, provenance)
    with whole_file(path) as partial:
        save_file(weights, partial, metadata={"equitensor": header})


def to_bytes(model: Potential) -> bytes:
    """The bytes that `save` would write."""
    weights, header = _contents(model, None)
    return pack(weights, metadata={"equitensor": header})


def _contents(model: Potential, provenance: dict | None) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a model file, and its header."""
    header = {
        "format": FORMAT if model.d3 is None else FORMAT_WITH_D3,
        "equitensor": __version__,
        "settings": model.settings,
        "cutoff": model.cutoff,
        "elements": list(model.elements),
        "e0s": {str(z): e0 for z, e0 in zip(model.elements, model.e0s.tolist(), strict=True)},
        "scale": model.scale,
        "shift": model.shift,
        **({} if model.d3 is None else {"d3": model.d3}),
        "dtype": str(model.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in model.parameters()),
        "units": UNITS,
        "harmonics": CONVENTION,
        "provenance": provenance or {},
    }
    if brought := packages(model.settings):
        header["packages"] = brought
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    weights.update(model.backbone.tables() if isinstance(model.backbone, EvaluatedBackbone) else {})
    _add_error_bars(model, weights, header)
    return weights, json.dumps(header)


def _add_error_bars(model: Potential, weights: dict[str, torch.Tensor], header: dict) -> None:
    """Those that the model was loaded with, as long as its weights are the same."""
    bars = model.error_bars
    if bars is None:
        return
    if bars.about["weights"] != digest({name: value.numpy() for name, value in weights.items()}):
        _log.warning("the weights are not those of the error bars, which are left out: equitensor uncertainty, again")
        return
    header["error_bars"] = bars.about
    weights.update({name: torch.from_numpy(value) for name, value in bars.tensors().items()})


@torch.inference_mode(False)  # weights made under it could never be differentiated
def load(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, without_d3: bool = False
) -> Potential:
    """Load the potential from a model file, in evaluation mode.

    Args:
        path: the file, or the name of a model that comes with equitensor, such as "organics".
        device: where to put it, whatever device it was saved from.
        dtype: None for that of the file.
        without_d3: load a model that was trained on labels without dispersion (its attribute `d3` names it), although
            its own energies lack that part. Without this argument such a file raises InputError.
    """
    path = model_path(path)
    header = read_header(path)
    if not without_d3:
        refuse_without_d3(path, header.get("d3"))
    if header["harmonics"] != CONVENTION:
        raise InputError(f"{path} uses the harmonics convention {header['harmonics']!r}, this reads {CONVENTION!r}")
    settings = dict(header["settings"])
    try:
        num_neighbors = settings.pop("num_neighbors")
        e0s = {int(z): e0 for z, e0 in header["e0s"].items()}
        stored = _DTYPES[header["dtype"]]
        model = build(settings, header["elements"], e0s, header["scale"], header["shift"], num_neighbors)
    except InputError as error:
        needed = header.get("packages")
        hint = f" (the model is of what {', '.join(needed)} brought: is that installed here?)" if needed else ""
        raise InputError(f"{path}: {error}{hint}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: its header is damaged ({error!r}): take another copy of the file") from None
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    weights = {name: value for name, value in tensors.items() if not name.startswith((TABLES, PREFIX))}
    model = model.to(dtype=stored)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path}: its weights do not fit its settings {settings}: {error}") from None
    model.d3 = header.get("d3")
    model = model.to(device=device, dtype=dtype or model.dtype)
    try:
        model.error_bars = of_tensors({k: v.numpy() for k, v in tensors.items() if k.startswith(PREFIX)}, header)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its error bars are damaged ({error!r}): take another copy of the file") from None
    return model.eval()

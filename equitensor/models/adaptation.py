"""A potential made of another: one that knows further elements, or one of whose parts is new."""

import torch
from torch import nn

from equitensor.errors import InputError
from equitensor.models.architectures import build
from equitensor.models.backbone import GrowingBackbone, growing
from equitensor.models.parts import READOUT, parts_of
from equitensor.models.potential import Potential
from equitensor.nn.weights import ElementTable


def extended(model: Potential, e0s: dict[int, float]) -> Potential:
    """The same potential, in training mode, for the elements of `e0s` (eV), which include its own.

    In every per-element table the rows of new elements are the average of the known ones. Raises InputError if weights
    outside such tables depend on the number of elements.
    """
    settings = dict(model.settings)
    neighbors = settings.pop("num_neighbors")
    made = build(settings, e0s, e0s, model.scale, model.shift, neighbors).to(device=model.device, dtype=model.dtype)
    made.d3 = model.d3
    weights = model.state_dict()
    own = [made.elements.index(z) for z in model.elements]
    for name in _tables(model):
        known = weights[name]
        weights[name] = known.mean(dim=0, keepdim=True).repeat(len(made.elements), *[1] * (known.dim() - 1))
        weights[name][own] = known
    if model.repulsion is not None and made.repulsion is not None:
        begins = made.repulsion.begins.clone()
        begins[torch.tensor(own)[:, None], own] = model.repulsion.begins
        weights["repulsion.begins"] = begins
    try:
        made.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"a model of {settings['architecture']} cannot take further elements: {error}") from None
    return made


def enlarged(model: Potential, sizes: dict[str, int], seed: int = 0) -> Potential:
    """A potential, in training mode, that is larger by these settings and predicts the same until it is trained.

    What is new has random weights, which depend only on `seed`, but does not act on what was there before (Chen,
    Goodfellow and Shlens, Net2Net, 2016). Raises InputError for settings by which the architecture cannot grow, or
    that are not larger.
    """
    if not sizes:
        return model
    settings = dict(model.settings)
    neighbors = settings.pop("num_neighbors")
    by = growing(type(model.backbone))
    for name, size in sizes.items():
        if name not in by:
            known = ", ".join(by) or "nothing"
            raise InputError(f"a model of {settings['architecture']} cannot grow by {name}; it can by {known}")
        if size < (settings.get(name) or size):
            raise InputError(f"a model whose {name} is {settings[name]} cannot grow to {size}")
    e0s = dict(zip(model.elements, model.e0s.tolist(), strict=True))
    made = build(settings | sizes, e0s, e0s, model.scale, model.shift, neighbors, seed)
    made = made.to(device=model.device, dtype=model.dtype)
    made.d3 = model.d3
    assert isinstance(made.backbone, GrowingBackbone)  # or nothing could grow
    try:
        made.backbone.begin_as(model.backbone)
    except InputError as error:
        raise InputError(f"a model of {model.settings} cannot grow to {sizes}: {error}") from None
    if model.repulsion is not None and made.repulsion is not None:
        made.repulsion.begins.copy_(model.repulsion.begins)
    return made


@torch.no_grad()
def begin_readout(model: Potential, scale: float, shift: float, seed: int) -> None:
    """Weights of the part "readout", and the scale and shift (eV) of what it gives, as in a new model of this seed.

    Raises InputError for an architecture without a part of that name.
    """
    parts, settings = parts_of(model), dict(model.settings)
    if READOUT not in parts:
        raise InputError(f"{settings['architecture']} has no part {READOUT} that could begin anew: {', '.join(parts)}")
    neighbors = settings.pop("num_neighbors")
    new = build(settings, model.elements, dict.fromkeys(model.elements, 0.0), num_neighbors=neighbors, seed=seed)
    for name, weight in parts_of(new)[READOUT].items():
        parts[READOUT][name].copy_(weight)
    model.scale, model.shift = scale, shift


def _tables(model: nn.Module) -> list[str]:
    kinds = ElementTable | nn.Embedding
    return [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, kinds)]

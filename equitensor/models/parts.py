"""The parts of a model by which it is frozen and trained: every weight belongs to one."""

from fnmatch import fnmatchcase

from torch import nn

from equitensor.models.potential import Potential

READOUT = "readout"  # what turns features into energies, in every architecture that has a part of this name


def parts_of(model: Potential) -> dict[str, dict[str, nn.Parameter]]:
    """part -> name -> weight, by the patterns of the architecture's `PARTS`, of which the first that matches counts.

    An architecture that declares none has a part for each of its modules.
    """
    patterns = model.backbone.PARTS
    parts: dict[str, dict[str, nn.Parameter]] = {part: {} for part in patterns}
    for name, parameter in model.backbone.named_parameters():
        fitting = (part for part in patterns if any(fnmatchcase(name, pattern) for pattern in patterns[part]))
        parts.setdefault(next(fitting, name.partition(".")[0]), {})[name] = parameter
    return {part: weights for part, weights in parts.items() if weights}

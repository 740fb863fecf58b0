"""The architectures by name, and potentials built from the `model:` section of a config."""

import inspect

import torch

from equitensor.errors import InputError
from equitensor.models.dimenet import DimeNetPlusPlus
from equitensor.models.directional import Directional
from equitensor.models.potential import Potential

ARCHITECTURES = {"directional": Directional, "dimenet++": DimeNetPlusPlus}
SUPPLIED = ("num_elements", "num_neighbors")  # by the training data, not by the settings


@torch.inference_mode(False)  # weights made under it could never be trained or differentiated
def build(settings: dict, elements, e0s: dict[int, float], scale=1.0, shift=0.0, num_neighbors=12.0, seed=0):
    """A Potential with fresh weights, the same for the same seed; the global random state is left alone.

    Args: settings, `architecture`, `cutoff`, `zbl` and the arguments of the architecture; elements, atomic numbers;
    e0s by atomic number in eV; scale, shift in eV; num_neighbors, the average in the training data.
    Raises InputError for an architecture that does not exist, and for a setting that it does not have.
    """
    options = dict(settings)
    name = options.pop("architecture", "directional")
    zbl = options.pop("zbl", False)
    if name not in ARCHITECTURES:
        raise InputError(f"model.architecture is {name!r}: choose one of {', '.join(ARCHITECTURES)}")
    _refuse_strange(options, name)
    elements = sorted(int(z) for z in elements)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = ARCHITECTURES[name](len(elements), num_neighbors=num_neighbors, **options)
    kept = {**_defaults(name), **settings, "architecture": name, "num_neighbors": float(num_neighbors)}
    return Potential(backbone, options["cutoff"], elements, e0s, scale, shift, zbl, kept)


def _defaults(name: str) -> dict:
    """What a setting that is left out means now: a model file keeps it, whatever becomes of the default."""
    parameters = inspect.signature(ARCHITECTURES[name]).parameters.items()
    found = {key: parameter.default for key, parameter in parameters if parameter.default is not parameter.empty}
    return {key: value for key, value in found.items() if key not in SUPPLIED and value is not None}


def _refuse_strange(options: dict, name: str) -> None:
    known = [key for key in inspect.signature(ARCHITECTURES[name]).parameters if key not in SUPPLIED]
    for key in options:
        if key not in known:
            raise InputError(f"model.{key} is no setting of {name}, which has {', '.join(known)}: leave it out")

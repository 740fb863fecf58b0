"""The architectures by name, and potentials built from the `model:` section of a config."""

import inspect
import math
from numbers import Integral, Real

import torch

from equitensor.errors import InputError
from equitensor.models.dimenet import DimeNetPlusPlus
from equitensor.models.directional import Directional
from equitensor.models.potential import Potential

ARCHITECTURES = {"directional": Directional, "dimenet++": DimeNetPlusPlus}
SUPPLIED = ("num_elements", "num_neighbors")  # by the training data, not by the settings
CUTOFF = 5.0  # Angstrom, where the settings leave it out
_NOT_COUNTS = ("cutoff", "smoothness", "pyg_form")
_MAY_BE_ZERO = ("lmax", "before_skip", "after_skip", "output_layers")


@torch.inference_mode(False)  # weights made under it could never be trained or differentiated
def build(settings: dict, elements, e0s: dict[int, float], scale=1.0, shift=0.0, num_neighbors=12.0, seed=0):
    """A Potential with fresh weights, the same for the same seed; the global random state is left alone.

    Args: settings, `architecture`, `cutoff` (5 Angstrom), `zbl` and the arguments of the architecture; elements,
    atomic numbers; e0s by atomic number in eV; scale, shift in eV; num_neighbors, the average in the training data.
    Raises InputError for an architecture that does not exist, for a setting that it does not have, and for values
    that no potential can have.
    """
    if not (isinstance(seed, Integral) and 0 <= seed < 2**32):
        raise InputError(f"seed is {seed!r}; it must be a whole number, 0 or more, and below 2^32")
    settings = {"cutoff": CUTOFF} | settings
    options = dict(settings)
    name = options.pop("architecture", "directional")
    zbl = options.pop("zbl", False)
    if name not in ARCHITECTURES:
        raise InputError(f"model.architecture is {name!r}: choose one of {', '.join(ARCHITECTURES)}")
    _refuse_strange(options, name)
    _refuse_values(options, elements, e0s, {"scale": scale, "shift": shift, "num_neighbors": num_neighbors})
    elements = sorted(int(z) for z in elements)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
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


def _refuse_values(options: dict, elements, e0s: dict, numbers: dict) -> None:
    for key, value in options.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        smallest = 0 if key in _MAY_BE_ZERO else 1
        if key == "cutoff" and not (_finite(value) and value > 0):
            raise InputError(f"model.cutoff is {value!r}: it must be a length above 0, in Angstrom")
        if key == "smoothness" and value is not None and not (_finite(value) and value >= 0):
            raise InputError(f"model.smoothness is {value!r}: it must be a number, 0 or more")
        if isinstance(value, int | float) and key not in _NOT_COUNTS and not (whole and value >= smallest):
            raise InputError(f"model.{key} is {value!r}: it must be a whole number, {smallest} or more")
    strange = [z for z in elements if not 1 <= int(z) <= 118]
    if strange or len(elements) == 0:
        raise InputError(f"elements are {list(elements)}: give atomic numbers from 1 to 118, one at least")
    for z in elements:
        if not _finite(e0s.get(int(z))):
            raise InputError(f"the E0 of atomic number {z} is {e0s.get(int(z))!r}: give a finite energy in eV")
    for name, value in numbers.items():
        if not _finite(value) or (name != "shift" and value <= 0):
            what = "finite" if name == "shift" else "finite and above 0"
            raise InputError(f"the potential's {name} is {value!r}: it must be {what}")


def _finite(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)

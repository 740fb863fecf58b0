"""The architectures by name, and potentials built from the `model:` section of a config.

An installed package brings one as an entry point of the group "equitensor.architectures": its name = a `Backbone`.
"""

import math
from collections.abc import Collection
from numbers import Integral, Real

import torch

from equitensor.errors import InputError
from equitensor.models.backbone import SUPPLIED, Backbone, problem
from equitensor.models.dimenet import DimeNetPlusPlus
from equitensor.models.directional import Directional
from equitensor.models.potential import Potential
from equitensor.models.similar_elements import begin_alike
from equitensor.nn.product_families import FAMILIES
from equitensor.registry import Registry
from equitensor.settings import Settings, check, settings_of

ARCHITECTURES = Registry(
    "architecture",
    "equitensor.architectures",
    {"directional": Directional, "dimenet++": DimeNetPlusPlus},
    problem,
    key="model.architecture",
)
registered = ARCHITECTURES.registered
DEFAULT = "directional"
CUTOFF = 5.0  # Angstrom, where the settings leave it out


def settings(name: str) -> type[Settings]:
    """What an architecture declares in the signature of its class, as a pydantic model."""
    return settings_of(ARCHITECTURES.find(name), SUPPLIED)


def packages(settings: dict) -> list[str]:
    """The installed packages that bring what a model of these settings is made of, as "pairs 1.0"."""
    used = (ARCHITECTURES.package(settings.get("architecture", "")), FAMILIES.package(str(settings.get("product"))))
    return sorted({package for package in used if package is not None})


@torch.inference_mode(False)  # weights made under it could never be trained or differentiated
def build(
    settings: dict,
    elements: Collection[int],
    e0s: dict[int, float],
    scale: float = 1.0,
    shift: float = 0.0,
    num_neighbors: float = 12.0,
    seed: int = 0,
) -> Potential:
    """A Potential with random weights, which depend only on `seed`; the global random state is not touched.

    Args:
        settings: architecture, cutoff (5 Angstrom), zbl, repulsion, and the arguments of the architecture.
        elements: atomic numbers.
        e0s: in eV, by atomic number.
        scale, shift: in eV.
        num_neighbors: average in the training data.

    Raises:
        InputError: an architecture that does not exist, a setting that it does not have, or an impossible value.
    """
    if not (isinstance(seed, Integral) and 0 <= seed < 2**32):
        raise InputError(f"seed is {seed!r}; it must be a whole number, 0 or more, and below 2^32")
    chosen = {"cutoff": CUTOFF} | settings
    options = dict(chosen)
    name = options.pop("architecture", DEFAULT)
    zbl, repulsion = options.pop("zbl", False), options.pop("repulsion", None)
    architecture: type[Backbone] = ARCHITECTURES.find(name)
    if zbl and repulsion:
        raise InputError("model.repulsion includes the ZBL repulsion: leave model.zbl out")
    _refuse_settings(options, name)
    _refuse_values(elements, e0s, {"scale": scale, "shift": shift, "num_neighbors": num_neighbors})
    elements = sorted(int(z) for z in elements)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        backbone = architecture(num_elements=len(elements), num_neighbors=num_neighbors, **options)
    begin_alike(backbone, elements)
    kept = {**_defaults(name), **chosen, "architecture": name, "num_neighbors": float(num_neighbors)}
    return Potential(backbone, options["cutoff"], elements, e0s, scale, shift, zbl, kept, bool(repulsion))


def _defaults(name: str) -> dict:
    """What a setting that is left out means now: a model file keeps it, whatever becomes of the default."""
    fields = settings(name).model_fields.items()
    return {key: info.default for key, info in fields if not info.is_required() and info.default is not None}


def _refuse_settings(options: dict, name: str) -> None:
    check(
        settings(name),
        options,
        "model.",
        lambda key, known: f"{key} is no setting of {name}, which has {known}: leave it out",
    )


def _refuse_values(elements, e0s: dict, scalars: dict) -> None:
    strange = [z for z in elements if not 1 <= int(z) <= 118]
    if strange or len(elements) == 0:
        raise InputError(f"elements are {list(elements)}: give atomic numbers from 1 to 118, one at least")
    for z in elements:
        if not _finite(e0s.get(int(z))):
            raise InputError(f"the E0 of atomic number {z} is {e0s.get(int(z))!r}: give a finite energy in eV")
    for name, value in scalars.items():
        if not _finite(value) or (name != "shift" and value <= 0):
            what = "finite" if name == "shift" else "finite and above 0"
            raise InputError(f"the potential's {name} is {value!r}: it must be {what}")


def _finite(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)

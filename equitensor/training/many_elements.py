"""What sets of many elements are trained with where the config leaves it open.

Of most pairs of such a set's elements there are few examples or none. What is right for one molecule, of which there
are hundreds of frames, learns forces there that are worse than none: see docs/experiments.md.
"""

from collections.abc import Collection
from pathlib import Path

from rich.console import Console

from equitensor.graph.labels import labels
from equitensor.models import ARCHITECTURES
from equitensor.training.checkpoint import saved_config
from equitensor.training.config import Config
from equitensor.training.config_sections import loss_key

MANY = 10  # elements


def choices(architecture: str, zbl: bool = False) -> dict[str, dict[str, bool | float | None]]:
    """Section of the config -> key -> value, as the architecture declares them; for one with model.zbl or without."""
    weighed = [label for label in labels() if label.among_many is not None]
    section: dict[str, bool | float | None] = {
        loss_key(label, late): label.among_many for label in weighed for late in (False, True)
    }
    model = dict(ARCHITECTURES[architecture].AMONG_MANY)
    return {"model": model | {"repulsion": not zbl}, "loss": section}


def as_begun(config: Config, run: Path | None) -> Config:
    """The config of a run that is resumed with what it began with in what it leaves open; of a new run as it is."""
    if run is None:
        return config
    saved = saved_config(run)
    chosen = choices(saved.model.architecture)
    began = {name: {key: getattr(getattr(saved, name), key) for key in keys} for name, keys in chosen.items()}
    return _with(config, began)


def for_many_elements(config: Config, elements: Collection[int], console: Console) -> Config:
    """The config of a new run with the choices for data of these elements in what it leaves open; says which.

    A model that is trained further stays as it is, and so does an architecture that declares nothing for them.
    """
    declared = ARCHITECTURES[config.model.architecture].AMONG_MANY
    if len(elements) < MANY or not declared or config.train.init_from is not None:
        return config
    chosen = choices(config.model.architecture, config.model.zbl)
    completed = _with(config, chosen)
    taken = [
        f"{name}.{key}={_word(getattr(getattr(completed, name), key))}"
        for name, keys in chosen.items()
        for key in keys
        if getattr(getattr(completed, name), key) != getattr(getattr(config, name), key)
    ]
    if taken:
        console.print(f"{len(elements)} elements; defaults for many elements: {', '.join(taken)}", soft_wrap=True)
    return completed


def _with(config: Config, chosen: dict[str, dict]) -> Config:
    """The config with these values of the keys that it leaves out."""
    sections = {}
    for name, values in chosen.items():
        section = getattr(config, name)
        given = {key for key in section.model_fields_set if getattr(section, key) is not None}
        sections[name] = section.model_copy(update={k: v for k, v in values.items() if k not in given})
    return config.model_copy(update=sections)


def _word(value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"

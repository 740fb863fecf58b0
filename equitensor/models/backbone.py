"""What a potential is built around: a class says it is a backbone, and what else is known of it."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from equitensor.nn.neighborhood import Neighborhood

SUPPLIED = ("num_elements", "num_neighbors")  # by the training data, not by the settings
NEEDED = (*SUPPLIED, "cutoff")


class Backbone(nn.Module, ABC):
    """Atomic energies from neighbours within the cutoff; classes are abstract, or final.

    The constructor takes num_elements, cutoff (Angstrom), num_neighbors (the average in the training data) and settings
    with defaults, whose annotations are what the keys of `model` take.

    Attributes:
        PARTS: part -> patterns of names of weights, by which `train.freeze` and `train.lr` know parts of the model; of
            several that match the first counts. Without any each module is a part.
        lr_scale: of an optimiser's default learning rate.
        AMONG_MANY: the values of settings that the config leaves open, for data of many elements.
    """

    PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    lr_scale: ClassVar[float] = 1.0
    AMONG_MANY: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def forward(self, species: Tensor, neighbors: Neighborhood) -> tuple[Tensor, ...]:
        """species (n,), whole numbers < num_elements, to energies (n,), features (n, d) and, where it predicts other
        labels, {label: contributions of the atoms (n, *shape)}.

        Energies are in units of the forces' scale, 0 on average; features do not change with rotations.
        """


class GrowingBackbone(Backbone):
    """A backbone that can begin with the weights of a smaller one.

    Attributes:
        GROWING: names of settings, whole numbers that are never None, by which it can be larger.
    """

    GROWING: ClassVar[tuple[str, ...]]

    @abstractmethod
    def begin_as(self, smaller: Backbone) -> None:
        """Take such weights that the energies are those of `smaller`, which differs by settings of `GROWING` alone.

        What is new has random weights, but does not act on what was there before. Raises InputError for weights that
        have no place here.
        """


def growing(architecture: type[Backbone]) -> tuple[str, ...]:
    """The settings by which it can be larger than a model whose weights it begins with."""
    return architecture.GROWING if issubclass(architecture, GrowingBackbone) else ()


class EvaluatedBackbone(Backbone):
    """A backbone that the compiled evaluator knows."""

    @abstractmethod
    def tables(self) -> dict[str, Tensor]:
        """Constants that the evaluator finds in the model file beside the weights, by names that begin "coupling.";
        none for settings that it does not evaluate."""


def problem(_name: str, architecture) -> str | None:
    """What an architecture of another package lacks, or None."""
    if not (inspect.isclass(architecture) and issubclass(architecture, Backbone)):
        return "it is no subclass of equitensor.models.Backbone"
    if inspect.isabstract(architecture):
        return f"{architecture.__name__} lacks {', '.join(sorted(architecture.__abstractmethods__))}"
    if wrong := [part for part, patterns in architecture.PARTS.items() if not isinstance(patterns, tuple)]:
        return f"{architecture.__name__}.PARTS[{wrong[0]!r}] is no tuple of patterns, as ('readout.*',)"
    parameters = inspect.signature(architecture).parameters
    if missing := [name for name in NEEDED if name not in parameters]:
        return f"its constructor does not take {', '.join(missing)}"
    needed = [name for name, each in parameters.items() if each.default is each.empty and name not in NEEDED]
    if needed:
        return f"its setting {needed[0]} has no default"
    if not issubclass(architecture, GrowingBackbone):
        return None
    grows = getattr(architecture, "GROWING", None)
    if isinstance(grows, tuple) and set(grows) <= set(parameters) - set(NEEDED):
        return None
    return f"{architecture.__name__}.GROWING is {grows!r}, no tuple of names of its settings, as ('layers',)"

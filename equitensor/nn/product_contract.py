"""What a family of tensor products brings: one class for each layer that it serves.

Classes are abstract or final: those here declare, those of a family fill in, and nobody overrides a method that has
a body.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from equitensor.errors import InputError
from equitensor.nn.tables import Tables


class InteractionMap(Tables, ABC):
    """z = x (x) y on channels-last features: made of (irreps1, irreps2, irreps_out, channels, **options).

    The irreps are e3nn's, each with multiplicity `channels`; the options are the arguments that have a default.

    Attributes:
        instructions: (i1, i2, i_out, "uuu", True) of each path, sorted by i_out.
        weight_numel: how many weights z has.
        bilinear: whether z is a constant tensor times x and y for given weights, so that compiled operators may compute
            it from the products of unit vectors. Plain torch computes what is not.
        weighted_by_path: whether z is linear in weights (path, C), and the paths are what compiled operators weigh.
            Where it is not, a network that mixes channels around the product takes it without weights.
    """

    bilinear: ClassVar[bool] = False
    weighted_by_path: ClassVar[bool] = False
    instructions: list[tuple]
    weight_numel: int

    if TYPE_CHECKING:  # which options there are, a family says

        def __init__(self, *sizes, **options) -> None: ...

    @abstractmethod
    def initial_weight(self) -> Tensor:
        """(weight_numel,): outputs of unit variance for inputs of unit variance."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """(..., d1, C), (..., d2, C), weight (weight_numel,) or (..., weight_numel) or None for ones: (..., d3, C)."""

    @abstractmethod
    def powers(self, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
        """x, x (x) x, (x (x) x) (x) x ... up to `order` factors; `repeated` does it where nothing is saved."""

    @abstractmethod
    def describe(self) -> str:
        """What it is computed with, for the layer's repr."""


class FlatInteractionMap(InteractionMap):
    """An interaction that can read e3nn's flat rows as they are."""

    @property
    @abstractmethod
    def by_paths(self) -> bool:
        """Whether it does, with its options."""

    @abstractmethod
    def of_rows(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """The same map of flat rows (..., irreps.dim)."""


class ConvolutionMap(Tables, ABC):
    """z_i = sum over edges j -> i of w_ij . (x_j (x) y_ij): made of (irreps_in, irreps_edge, irreps_out, **options).

    Attributes:
        layout: of x and z: "channels_last" (n, d, C), where all irreps of x have one multiplicity C, or "flat".
        irreps_out: of z, whose multiplicities follow from irreps_in.
        instructions: (i_in, i_edge, i_out, "uvu", True) of each path.
        weight_numel: weights per edge.
    """

    layout: ClassVar[str] = "channels_last"
    irreps_out: Any
    instructions: list[tuple]
    weight_numel: int

    if TYPE_CHECKING:  # which options there are, a family says

        def __init__(self, *sizes, **options) -> None: ...

    @abstractmethod
    def forward(self, x: Tensor, edge_attr: Tensor, edge_weight: Tensor, edge_index: Tensor) -> Tensor:
        """x in the layout, (e, irreps_edge.dim), (e, weight_numel), (2, e) sender and receiver: z in the layout."""

    @abstractmethod
    def describe(self) -> str:
        """What it is computed with, for the layer's repr."""


class RadialConvolutionMap(ConvolutionMap):
    """A convolution that makes the weights of edges where it needs them."""

    @abstractmethod
    def forward_radial(
        self, x: Tensor, edge_attr: Tensor, hidden: Tensor, matrix: Tensor, edge_index: Tensor
    ) -> Tensor:
        """`forward` with edge_weight = hidden @ matrix."""


class ManyBodyMap(Tables, ABC):
    """z = sum over orders of w x (x) ... (x) x: made of (irreps_in, irreps_out, channels, correlation, **options).

    Attributes:
        paths: for each order, ((irreps of x), irrep out) of each weight, the former empty where all take part.
    """

    paths: list[list[tuple]]

    if TYPE_CHECKING:  # which options there are, a family says

        def __init__(self, *sizes, **options) -> None: ...

    @abstractmethod
    def initial_scale(self) -> list[Tensor]:
        """By order, (paths,): the standard deviation of weights for outputs of unit variance."""

    @abstractmethod
    def forward(self, x: Tensor, weights: list[Tensor], element_index: Tensor) -> Tensor:
        """x (n, d, C), a weight (elements, paths, C) for each order, element_index (n,): (n, d_out, C)."""

    @abstractmethod
    def refusal(self, ir_out) -> str:
        """Why no order reaches an irrep."""

    @abstractmethod
    def multiplications(self) -> int:
        """Per atom and channel."""

    @abstractmethod
    def describe(self) -> str:
        """What it is computed with, for the layer's repr."""


@dataclass(frozen=True)
class Family:
    """The classes of a family; None where it does not serve that layer."""

    interaction: type[InteractionMap] | None = None
    convolution: type[ConvolutionMap] | None = None
    many_body: type[ManyBodyMap] | None = None


FIXED = {  # what each class of a family is made of, beside its options
    "interaction": (InteractionMap, ("irreps1", "irreps2", "irreps_out", "channels")),
    "convolution": (ConvolutionMap, ("irreps_in", "irreps_edge", "irreps_out")),
    "many_body": (ManyBodyMap, ("irreps_in", "irreps_out", "channels", "correlation")),
}


def problem(_name: str, family) -> str | None:
    """What a family of another package lacks, or None."""
    if not isinstance(family, Family):
        return "it is no equitensor.nn.product_contract.Family"
    for layer, (contract, fixed) in FIXED.items():
        cls = getattr(family, layer)
        if cls is None:
            continue
        if not (inspect.isclass(cls) and issubclass(cls, contract)):
            return f"its {layer} is no subclass of {contract.__name__}"
        if inspect.isabstract(cls):
            return f"{cls.__name__} lacks {', '.join(sorted(getattr(cls, '__abstractmethods__', ())))}"
        given = [name for name, each in inspect.signature(cls).parameters.items() if each.default is each.empty]
        if len(given) != len(fixed):
            return f"{cls.__name__} is made of ({', '.join(given)}), not of ({', '.join(fixed)})"
    return None


def check_options(cls: type, product: str, options: dict) -> None:
    """Raise InputError for an option that is no argument with a default of the family's class."""
    parameters = inspect.signature(cls).parameters.values()
    known = [each.name for each in parameters if each.default is not each.empty]
    for name in options:
        if name not in known:
            offer = f"its options are {', '.join(known)}" if known else "it has none"
            raise InputError(f"product={product!r} has no option {name!r}: {offer}")


def repeated(product: InteractionMap, x: Tensor, order: int, weight: Tensor | None) -> list[Tensor]:
    """x, x (x) x, (x (x) x) (x) x ... one product after the other."""
    terms = [x]
    while len(terms) < order:
        terms.append(product(terms[-1], x, weight))
    return terms

"""The families of tensor products by name: ours, and those that installed packages bring.

A package brings one as an entry point of the group "equitensor.products": its name = a `Family` of `product_contract`.
"""

from equitensor.errors import InputError
from equitensor.nn.clebsch_gordan import ClebschGordanConvolution, ClebschGordanInteraction
from equitensor.nn.cp import CPConvolution, CPInteraction
from equitensor.nn.gaunt import GauntInteraction
from equitensor.nn.gaunt_convolution import GauntConvolution
from equitensor.nn.many_body_coupling import CoupledPowers
from equitensor.nn.many_body_cp import CPPowers
from equitensor.nn.many_body_grid import GridPowers
from equitensor.nn.product_contract import ConvolutionMap, Family, InteractionMap, ManyBodyMap, problem
from equitensor.registry import Registry

FAMILIES = Registry(
    "product",
    "equitensor.products",
    {
        "cg": Family(ClebschGordanInteraction, ClebschGordanConvolution, CoupledPowers),
        "gaunt": Family(GauntInteraction, GauntConvolution, GridPowers),
        "cp": Family(CPInteraction, CPConvolution, CPPowers),
    },
    problem,
)
registered = FAMILIES.registered


def interaction_class(product: str) -> type[InteractionMap]:
    """What `Interaction` is computed by. Raises InputError for a family that does not exist, or has none."""
    return FAMILIES.find(product).interaction or _absent(product, "Interaction")


def convolution_class(product: str) -> type[ConvolutionMap]:
    """The same of `Convolution`."""
    return FAMILIES.find(product).convolution or _absent(product, "Convolution")


def many_body_class(product: str) -> type[ManyBodyMap]:
    """The same of `ManyBody`."""
    return FAMILIES.find(product).many_body or _absent(product, "ManyBody")


def _absent(product: str, layer: str):
    raise InputError(f"product={product!r} has no {layer}: take another product for this layer")

"""The contracts of families and backbones: classes are abstract or final, and no method with a body is overridden."""

import inspect

import pytest
from torch import nn

from equitensor import models
from equitensor.models.backbone import Backbone
from equitensor.nn.product_contract import ConvolutionMap, InteractionMap, ManyBodyMap, check_options, problem
from equitensor.nn.product_families import FAMILIES
from equitensor.nn.tables import Tables

CONTRACTS = (InteractionMap, ConvolutionMap, ManyBodyMap, Backbone)
BELOW = {object, nn.Module, Tables}  # torch's, and what stands for it


def classes(base) -> set[type]:
    """Those of this package that are made of a contract."""
    below = {cls for cls in base.__subclasses__() if cls.__module__.startswith("equitensor.")}
    return below.union(*map(classes, below)) if below else below


def overridden(cls) -> list[str]:
    """Methods with a body of a class above that the class has anew."""
    above = [base for base in cls.__mro__[1:] if base not in BELOW and base.__module__.startswith("equitensor.")]
    own = {name for name, each in vars(cls).items() if inspect.isfunction(each) or isinstance(each, property)}
    return [
        f"{base.__name__}.{name}"
        for base in above
        for name, each in vars(base).items()
        if name in own - {"__init__"} and not getattr(each, "__isabstractmethod__", False)
    ]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_classes_are_abstract_or_final(contract):
    models.build({}, [1], {1: 0.0})  # all are imported
    members = classes(contract)
    assert len(members) >= 2
    for cls in members:
        assert inspect.isabstract(cls) or not classes(cls), f"{cls.__name__} has subclasses, but can be made"
        assert overridden(cls) == []


def test_one_that_overrides_is_seen():
    class Again(FAMILIES["cp"].convolution):
        def described(self):
            return ""

    assert overridden(Again) == ["CPTables.described"]


@pytest.mark.parametrize("name", ["cg", "gaunt", "cp"])
def test_our_own_keep_the_contract(name):
    assert problem(name, FAMILIES[name]) is None


def test_options_are_the_arguments_with_a_default():
    with pytest.raises(ValueError, match="has no option 'grid': its options are paths, form"):
        check_options(FAMILIES["gaunt"].interaction, "gaunt", {"grid": 1})

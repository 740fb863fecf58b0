"""Names of a package that load their modules on first use: what needs no torch starts without it (PEP 562)."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType


class _Package(ModuleType):
    """A package whose public names keep their meaning when a module of the same name is loaded."""

    def __setattr__(self, name, value):
        if not (isinstance(value, ModuleType) and name in self._lazy_names):
            super().__setattr__(name, value)


def lazy(package: str, modules: dict[str, str]) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a package whose public names (name -> module) are loaded when first asked for."""
    here = sys.modules[package]
    vars(here)["_lazy_names"] = frozenset(modules)
    here.__class__ = _Package

    def load(name: str):
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(modules[name]), name)
        setattr(here, name, value)
        return value

    return load, lambda: sorted({*vars(here), *modules})

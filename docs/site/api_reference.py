"""The public names of the packages, with their docstrings."""

import importlib
import inspect
from collections.abc import Mapping

_PACKAGES = {
    "equitensor": ("load", "save", "Calculator", "hessian"),
    "equitensor.nn": None,
    "equitensor.graph": None,
    "equitensor.models": None,
    "equitensor.data": None,
    "equitensor.training": None,
    "equitensor.interfaces": None,
    "equitensor.interfaces.e3nn": None,
    "equitensor.interfaces.mace": ("SymmetricContraction",),
    "equitensor.verification": None,
    "equitensor.o3": None,
    "equitensor.testing": None,
}


def page() -> str:
    """A section for each package: what it is for, then its names in order, each once."""
    documented: set[int] = set()
    return "\n".join(_section(name, names, documented) for name, names in _PACKAGES.items())


def values() -> list:
    """All that the page documents."""
    return [value for package, names in _PACKAGES.items() for value in _named(package, names).values()]


def _named(package: str, names) -> dict:
    module = importlib.import_module(package)
    return {name: getattr(module, name) for name in names or _public(module)}


def _section(package: str, names, documented: set[int]) -> str:
    module, values = importlib.import_module(package), _named(package, names)
    entries = [_entry(package, name, value) for name, value in values.items() if id(value) not in documented]
    documented.update(map(id, values.values()))
    return "\n".join([f"## {package}", "", inspect.getdoc(module).split("\n\n")[0], "", *entries])


def _public(module) -> list[str]:
    """What a module says is public, or else the functions that it defines."""
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
    return list(getattr(module, "__all__", None) or (name for name in own if not name.startswith("_")))


def _entry(package: str, name: str, value) -> str:
    if inspect.isclass(value):
        lines = [f".. autoclass:: {package}.{name}", "   :members:"]
    elif callable(value):
        lines = [f".. autofunction:: {package}.{name}"]
    else:
        words = ", ".join(f"``{each}``" for each in value) if isinstance(value, Mapping) else str(value)
        lines = [f".. py:data:: {package}.{name}", "", f"   {words}"]
    return "\n".join(["```{eval-rst}", *lines, "```", ""])

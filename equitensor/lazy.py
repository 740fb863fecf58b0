"""Names of a package that load their modules on first use: what needs no torch starts without it (PEP 562)."""

import importlib
import sys
from collections.abc import Callable


def lazy(package: str, modules: dict[str, str]) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a package whose public names (name -> module) are loaded when first asked for."""

    def load(name: str):
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source = modules[name]
        module = importlib.import_module(source)
        names = vars(sys.modules[package])
        # All names of the module at once: loading it has bound its own name, which may be that of a function in it.
        names.update({each: getattr(module, each) for each, where in modules.items() if where == source})
        return names[name]

    return load, lambda: sorted({*vars(sys.modules[package]), *modules})

"""Importing a library without the torch that it would load for tensors we never hand to it."""

import importlib
import sys
import threading


class _Refusal:
    """A finder of modules that knows better: in this thread there is no torch."""

    def __init__(self):
        self.thread = threading.get_ident()

    def find_spec(self, name, path=None, target=None):
        if name == "torch" and threading.get_ident() == self.thread:
            raise ModuleNotFoundError("torch is left out here", name=name)


def import_without_torch(package: str):
    """The package, which must take torch for optional; torch stays unloaded if it is.

    Others that import the package later get one of their own, which knows torch.
    """
    if "torch" in sys.modules or package in sys.modules:
        return importlib.import_module(package)
    refusal = _Refusal()
    sys.meta_path.insert(0, refusal)
    try:
        return importlib.import_module(package)
    finally:
        sys.meta_path.remove(refusal)
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]

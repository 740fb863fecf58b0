"""The versions that numbers come from: of equitensor, Python and the packages that compute."""

import platform
from importlib import metadata

from equitensor import __version__

_PACKAGES = (
    "torch",
    "numpy",
    "ase",
    "e3nn",
    "lmdb",
    "vesin",
    "lightning",
    "safetensors",
    "pydantic",
    "rich",
    "matplotlib",
)


def versions() -> dict[str, str]:
    """Name -> version, "not installed" for a package that is missing."""
    installed = {"equitensor": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed

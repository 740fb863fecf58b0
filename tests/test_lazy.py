"""Public names that are loaded on first use are what they say, whatever was imported before."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("data", "graph", "interfaces", "models", "training", "verification")
LAZY = ["equitensor", *(f"equitensor.{name}" for name in PACKAGES)]


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_see_the_same_names(package):
    """Where they differ an editor knows no such name, or one that is not there."""
    module = importlib.import_module(package)
    (guarded,) = (
        node
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING"
    )
    seen = {name.asname: node.module for node in guarded.body for name in node.names}
    assert seen == module._LAZY


@pytest.mark.parametrize("name", ["data.coverage", "data.convert", "training.fit"])
def test_a_function_and_its_module_may_share_a_name(name):
    package, _, function = name.partition(".")
    for first in (f"import equitensor.{name}", f"from equitensor.{name} import {function}", "pass"):
        script = f"{first}; from equitensor.{package} import {function}; assert callable({function})"
        subprocess.run([sys.executable, "-c", script], check=True)

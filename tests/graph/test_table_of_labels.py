"""The table of labels: what its entries say, and that they say it in one place."""

import ast
from pathlib import Path

import pytest

import equitensor
from equitensor.graph.labels import ISOLATED_ATOM, labels, names

# Simulations need forces, and stress where the cell moves, error bars are of energies and forces, and verification asks
# for what derivatives must be; formats have names of their own.
SIMULATIONS = ("interfaces", "models", "bench", "testing.py", *(f"cli/{name}.py" for name in ("md", "relax")))
SECOND = ("cli/vibrations.py", "cli/phonons.py", "verification")
ERROR_BARS = ("cli/uncertainty.py", "training/uncertainty.py", "training/calibration.py")
PHYSICS = (*SIMULATIONS, *SECOND, *ERROR_BARS, "data/formats")
TABLE = ("graph/labels.py",)
ROOT = Path(equitensor.__file__).parent


def test_labels_are_named_in_the_table_and_where_physics_is_computed():
    places = []
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(PHYSICS + TABLE):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in names():
                places.append(f"{name}:{node.lineno}: {node.value}")
    assert places == []


@pytest.mark.parametrize("label", labels(), ids=names())
def test_an_entry_is_whole(label):
    assert label.term in [quantity.name for quantity in label.quantities]
    assert label.parse_unit(label.unit, "unit") == pytest.approx(1.0)
    assert label.forms[0].name == ""
    assert not label.symmetric or label.shape == (3, 3)


def test_no_two_labels_share_a_bit_a_quantity_or_a_name():
    bits = [label.bit for label in labels()] + [ISOLATED_ATOM]
    quantities = [quantity.name for label in labels() for quantity in label.quantities]
    assert len(set(bits)) == len(bits) and sum(bits) < 256
    assert len(set(quantities)) == len(quantities)
    assert len(set(names())) == len(names())

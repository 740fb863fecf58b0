import subprocess
import sys

import pytest

from equitensor.errors import InputError
from equitensor.o3 import as_irreps, find_paths


def test_paths_are_sorted_by_output():
    operand = as_irreps("0e+1o")
    assert find_paths("cg", operand, operand, as_irreps("0e+1o+1e")) == [
        (0, 0, 0),
        (1, 1, 0),
        (0, 1, 1),
        (1, 0, 1),
        (1, 1, 2),
    ]
    assert find_paths("gaunt", operand, operand, as_irreps("2e")) == [(1, 1, 0)]


@pytest.mark.parametrize(
    ("product", "out", "reason"),
    [
        ("gaunt", "1e", r"1o x 1o -> 1e: l1 \+ l2 \+ l3 = 3 is odd.*product='cg'"),
        ("cg", "1o", "parity"),
        ("cg", "3e", "degree must lie between 0 and 2"),
        ("foo", "0e", "choose one of cg, gaunt, cp"),
    ],
)
def test_refusals_say_why(product, out, reason):
    with pytest.raises(InputError, match=reason):
        find_paths(product, as_irreps("1o"), as_irreps("1o"), as_irreps(out))


def test_irreps_text():
    with pytest.raises(InputError, match="64x0e"):
        as_irreps("4x1q")


def test_packages_load_without_e3nn():
    code = "import sys, equitensor.nn, equitensor.o3; sys.exit('e3nn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

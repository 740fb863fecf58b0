"""The core as a library of its own: its face in C, its build through CMake, programs that use it."""

import importlib
import pkgutil
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from equitensor import core, ops
from equitensor.ops import operator

ROOT = Path(__file__).parents[2]
HEADER = ROOT / "csrc" / "core" / "equitensor.h"

pytestmark = pytest.mark.skipif(not HEADER.is_file(), reason="the sources are not beside the tests")


def declarations():
    """Name -> the types of the arguments, of the functions of the header that take a precision."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    found = {}
    for name, arguments in re.findall(r"EQUITENSOR_API int equitensor_(\w+)\(([^)]*)\)", text):
        kinds = ["*" if "*" in argument else argument.split()[0] for argument in arguments.split(",")]
        if kinds[0] == "int":
            found[name] = kinds
    return found


@pytest.mark.skipif(core.WHY_NOT is not None, reason=str(core.WHY_NOT))
def test_kernels_are_called_as_the_header_declares_them():
    """ctypes would pass on a wrong number of addresses without a word."""
    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"equitensor.ops.{module.name}")
    known = declarations()
    used = {kernel.name: kernel for kernel in operator.KERNELS}
    assert used.keys() == known.keys()
    for name, kinds in known.items():
        assert kinds[-1] == "int"
        counts = [kinds.count("int64_t"), kinds.count("double"), kinds.count("*")]
        assert kinds[1:-1] == ["int64_t"] * counts[0] + ["double"] * counts[1] + ["*"] * counts[2], name
        kernel = used[name]
        assert counts == [kernel.sizes, kernel.constants, kernel.arrays], name


@pytest.mark.skipif(core.WHY_NOT is not None, reason=str(core.WHY_NOT))
def test_an_error_has_a_code_and_a_message():
    found = core.function("silu", sizes=1, arrays=2)
    assert found(7, 0, None, None, 1) == 1
    assert core.error() == "precision is 7: only float32 and float64 are known"


PROGRAM = r"""
#include <cmath>
#include <cstdio>
#include <equitensor.h>

int main() {
  const double x[2] = {0.5, -1.0};
  double y[2];
  if (equitensor_silu(EQUITENSOR_FLOAT64, 2, x, y, 1)) return std::puts(equitensor_error()), 1;
  for (int i = 0; i < 2; i++)
    if (std::fabs(y[i] - x[i] / (1 + std::exp(-x[i]))) > 1e-15) return 2;
  if (!equitensor_silu(7, 2, x, y, 1)) return 3;
  std::puts(equitensor_instruction_set());
}
"""
FIND = """
cmake_minimum_required(VERSION 3.18)
project(user LANGUAGES CXX)
find_package(equitensor REQUIRED)
add_executable(user user.cpp)
target_link_libraries(user equitensor::equitensor)
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(
    core.WHY_NOT is not None or not shutil.which("cmake") or not shutil.which("c++"),
    reason="no core, CMake or compiler",
)
def test_a_program_finds_the_core_of_the_package(tmp_path):
    (tmp_path / "user.cpp").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(FIND)
    run("cmake", "-S", str(tmp_path), "-B", str(tmp_path / "build"), f"-Dequitensor_DIR={core.CMAKE}")
    run("cmake", "--build", str(tmp_path / "build"))
    assert run(str(tmp_path / "build" / "user")).strip() == core.instruction_set()

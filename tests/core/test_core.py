"""The core as a library of its own: its face in C, its build through CMake, programs that use it."""

import importlib
import os
import pkgutil
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from equitensor import core, ops
from equitensor.interfaces import Calculator
from equitensor.ops import operator

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cpp"
HEADER = ROOT / "csrc" / "core" / "equitensor.h"

pytestmark = pytest.mark.skipif(not HEADER.is_file(), reason="the sources are not beside the tests")
needs_core = pytest.mark.skipif(core.WHY_NOT is not None, reason=str(core.WHY_NOT))
needs_cmake = pytest.mark.skipif(not shutil.which("cmake") or not shutil.which("c++"), reason="no CMake or compiler")


def declarations():
    """Name -> the types of the arguments, of the functions of the header that take a precision."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    declared = {}
    for name, arguments in re.findall(r"EQUITENSOR_API int equitensor_(\w+)\(([^)]*)\)", text):
        kinds = ["*" if "*" in argument else argument.split()[0] for argument in arguments.split(",")]
        if kinds[0] == "int":
            declared[name] = kinds
    return declared


@needs_core
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


@needs_core
def test_an_error_has_a_code_and_a_message():
    silu = core.function("silu", sizes=1, arrays=2)
    assert silu(7, 0, None, None, 1) == 1
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


def built(source, build, *options):
    """Configures and builds `source` with CMake; the folder of what was made."""
    run("cmake", "-S", str(source), "-B", str(build), *options)
    run("cmake", "--build", str(build), "--parallel", str(os.cpu_count() or 1))
    return build


@needs_core
@needs_cmake
def test_a_program_finds_the_core_of_the_package(tmp_path):
    (tmp_path / "user.cpp").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(FIND)
    user = built(tmp_path, tmp_path / "build", f"-Dequitensor_DIR={core.CMAKE}") / "user"
    assert run(user).strip() == core.instruction_set()


def assert_equals_the_calculator(output, model, atoms):
    """Energy and forces that the example printed, and those of the calculator."""
    energy, *forces = output.splitlines()
    calc = Calculator(model, dtype="float64", device="cpu")
    assert float(energy) == pytest.approx(calc.get_potential_energy(atoms), rel=1e-10)
    expected = calc.get_forces(atoms)
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(np.loadtxt(forces), expected, rtol=0, atol=1e-10 * abs(expected).max())


def lines(atoms):
    """A molecule as the example reads it."""
    return "".join(
        f"{z} {x!r} {y!r} {w!r}\n" for z, (x, y, w) in zip(atoms.numbers, atoms.positions.tolist(), strict=True)
    )


@needs_core
@needs_cmake
def test_the_example_in_cpp_gives_the_numbers_of_the_calculator(tmp_path, potential):
    example = built(EXAMPLE, tmp_path, f"-Dequitensor_DIR={core.CMAKE}") / "energy"
    atoms = molecule("CH3CH2OH")
    assert_equals_the_calculator(run(example, potential, input=lines(atoms)), potential, atoms)
    for path, text, reason in (
        (potential, lines(molecule("CH3Cl")), "does not know the element 17"),
        (potential, "6 0 0 0\n6 0 0\n", "atom 2: give atomic number, x, y, z"),
        (tmp_path / "absent.eqt", "6 0 0 0\n", "absent.eqt"),
    ):
        done = subprocess.run([example, path], input=text, capture_output=True, text=True)
        assert done.returncode == 1
        assert reason in done.stderr


@pytest.mark.skipif(
    not shutil.which("cmake") or not shutil.which("aarch64-linux-gnu-g++") or not shutil.which("qemu-aarch64"),
    reason="no CMake, cross compiler for aarch64 or qemu-user",
)
def test_on_aarch64_it_gives_the_numbers_of_this_machine(tmp_path, potential):
    """Cross-compiled, installed, found by CMake there, and run in an emulator."""
    toolchain = tmp_path / "aarch64.cmake"
    compiler = "set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)"
    toolchain.write_text(f"set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR aarch64)\n{compiler}\n")
    there = f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"
    library = built(ROOT, tmp_path / "library", there, "-DCMAKE_CXX_FLAGS_RELEASE=-O1")
    run("cmake", "--install", library, "--prefix", tmp_path / "installed")
    (config,) = (tmp_path / "installed").rglob("equitensorConfig.cmake")
    example = built(EXAMPLE, tmp_path / "example", there, f"-Dequitensor_DIR={config.parent}") / "energy"
    atoms = molecule("CH3CH2OH")
    output = run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", example, potential, input=lines(atoms))
    assert_equals_the_calculator(output, potential, atoms)

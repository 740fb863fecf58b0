"""The commands of docs/lammps.md run as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from equitensor.interfaces.lammps import inputs, program

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "lammps.md").read_text()
COMMANDS = re.findall(r"^    \.venv/bin/(.*)$", PAGE, re.MULTILINE)
BIN = Path(sys.executable).parent


def test_the_page_has_these_commands():
    assert [command.split()[0] for command in COMMANDS] == [
        *("pip", "equitensor", "lmp", "mpiexec", "equitensor", "equitensor")
    ]


def test_commands_run(lammps, potential, tmp_path):
    crystal = bulk("Al", cubic=True).repeat((2, 2, 2))
    crystal.symbols[0] = "Cu"
    crystal.rattle(0.05)
    crystal.write(tmp_path / "crystal.extxyz")
    (tmp_path / "model.eqt").write_bytes(potential.read_bytes())
    for command in COMMANDS:
        if command.startswith("pip") or "--build" in command:  # installed here; needs another LAMMPS
            continue
        if "lmp" in command:
            script = tmp_path / "start.in"
            script.write_text(script.read_text().replace("run 2000", "run 5"))
            if not (BIN / "lmp").exists():
                pytest.skip("LAMMPS is not beside this Python")
        words = shlex.split(command.replace(".venv/bin", str(BIN)))
        start = [sys.executable, "-m", "equitensor"] if words[0] == "equitensor" else [str(BIN / words[0])]
        done = subprocess.run([*start, *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, command + done.stdout[-2000:] + done.stderr[-2000:]


def test_the_styles_of_the_page_are_lammps_input(lammps, potential, tmp_path):
    lines = [line.strip() for line in PAGE.splitlines() if line.startswith(("    pair_style", "    pair_coeff"))]
    assert len(lines) == 7
    crystal = bulk("Al", cubic=True).repeat((2, 2, 2))
    crystal.symbols[::3] = "Cu"
    box = inputs.box(crystal)
    inputs.write_data(tmp_path / "atoms.data", box)
    head = inputs.setup(box, "atoms.data", potential).split("pair_style")[0]
    for style in (lines[:2], lines[2:5]):
        text = re.sub(r"\S*model\.eqt", str(potential), "\n".join(style))
        assert "Loop time" in program.run(f"{head}{text}\nrun 0\n", tmp_path)


def test_the_input_with_error_bars_runs(lammps, potential_with_error_bars, tmp_path):
    text = re.search(r"^    pair_style equitensor error_bars\n(?:    .*\n)*", PAGE, re.MULTILINE)[0]
    (tmp_path / "model.eqt").write_bytes(potential_with_error_bars.read_bytes())
    crystal = bulk("Al", cubic=True).repeat((2, 2, 2))
    crystal.symbols[::3] = "Cu"
    box = inputs.box(crystal)
    inputs.write_data(tmp_path / "atoms.data", box)
    head = inputs.setup(box, "atoms.data", tmp_path / "model.eqt").split("pair_style")[0]
    for limit, last in (("1.5e9", 20), ("1.5e-9", 10)):
        script = head + text.replace("1.5", limit) + 'fix 1 all nve\nrun 20\nprint "ended at $(step)"\n'
        assert f"ended at {last}" in program.run(script, tmp_path)
    (rows,) = (tmp_path / "bars.lammpstrj").read_text().split("ITEM: ATOMS id element x y z f_bars[1] f_bars[2]\n")[1:]
    assert all(float(number) > 0 for row in rows.splitlines() for number in row.split()[-2:])


def test_the_table_is_the_formula():
    density, reach = 0.055, 6.0
    rows = re.findall(r"^\| (\d+) \| (\d+) A \| (\d+) \| (\S+) MB \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for atoms, edge, ghosts, moved in (map(float, row) for row in rows):
        a = (atoms / density) ** (1 / 3)
        count = density * ((a + 2 * reach) ** 3 - a**3)
        assert edge == round(a) and abs(ghosts - count) < 1
        assert float(moved) == round(1e-6 * ghosts * 2 * 4 * 16 * 32, 1)

import os
import subprocess
import sys

import pytest

from equitensor.cli import main
from equitensor.cli.main import COMMANDS


def run_quietly(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_imports_nothing_heavy():
    heavy = ("torch", "numpy", "ase", "e3nn", "lightning", "matplotlib", "pydantic", "rich", "yaml", "scipy")
    code = f"""
import sys
from equitensor.cli import main
assert main(["--help"]) == 0
print([name for name in {heavy} if name in sys.modules])
"""
    assert run_quietly(code).splitlines()[-1] == "[]"


def test_module_and_command_are_the_same():
    out = subprocess.run([sys.executable, "-m", "equitensor", "--version"], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("equitensor ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"equitensor {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, message",
    [
        (["rlax"], "unknown command 'rlax': did you mean relax?"),
        (["xyz"], "unknown command 'xyz'; there are"),
        ([], "required: COMMAND"),
        (["md", "m", "s", "--steps", "3", "--timstep", "1"], "--timstep: did you mean --timestep?"),
        (["data", "convert", "a", "b", "--overwrit3"], "did you mean --overwrite?"),
        (["md", "m", "s", "--steps", "many"], "--steps: invalid int value: 'many'"),
        (["md", "m", "s"], "required: --steps"),
    ],
)
def test_wrong_arguments_are_one_line_and_code_2(argv, message, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_errors_of_the_system_name_the_file(monkeypatch, capsys):
    def fail(error):
        def run(args):
            raise error

        return run

    for error, text in [
        (PermissionError(13, "Permission denied", "there.eqt"), "there.eqt: permission denied"),
        (OSError(28, "No space left on device", "big.lmdb"), "big.lmdb: no space left on device"),
    ]:
        monkeypatch.setattr("equitensor.cli.info.run", fail(error))
        assert main(["info"]) == 2
        assert capsys.readouterr().err == f"equitensor: {text}\n"


def test_a_programming_error_keeps_its_traceback(monkeypatch):
    def run(args):
        raise ZeroDivisionError

    monkeypatch.setattr("equitensor.cli.info.run", run)
    with pytest.raises(ZeroDivisionError):
        main(["info"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_of_few_letters_shows_what_it_can(encoding, alanine_data, tmp_path):
    """The table of the data holds Angstrom signs and lines that these do not have."""
    lines = (alanine_data / "train.xyz").read_text().splitlines(keepends=True)
    (tmp_path / "one.xyz").write_text("".join(lines[: int(lines[0]) + 2]))
    command = [sys.executable, "-m", "equitensor", "data", "info", str(tmp_path / "one.xyz")]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    table = done.stdout.decode(encoding)
    assert "energy per atom, eV" in table
    assert "?" not in table


def test_letters_that_a_terminal_lacks_are_replaced_by_the_nearest():
    code = r"import sys; from equitensor.cli import main; main(['--version']); print('eV/\u00c5\u00b3 \u2192 \udcff')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == b"eV/A3 ? ?"

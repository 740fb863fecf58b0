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

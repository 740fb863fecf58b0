"""`equitensor completion`: scripts that know every command and option, and that the shells can read."""

import shutil
import subprocess

import pytest

from equitensor.cli import main
from equitensor.cli.completion import SHELLS
from equitensor.cli.main import COMMANDS

pytest.importorskip("shtab", reason="needs shtab (pip install equitensor[completion])")


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_and_options_are_in_the_script(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in (*COMMANDS, "convert"))
    assert all(option in script for option in ("max-novelty", "energy-key"))  # the last is added when it is asked for
    if shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(script)
        assert subprocess.run([shell, "-n", path]).returncode == 0


def test_bash_completes(capsys, tmp_path):
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    ask = "source ./script; COMP_WORDS=(equitensor rel); COMP_CWORD=1; "
    call = '$(complete -p equitensor | sed "s/.*-F //; s/ .*//"); echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", ask + call], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["relax"], done.stderr


def test_without_shtab_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install equitensor[completion]" in capsys.readouterr().err

"""The examples run and say what they should. `make examples` runs those that are not quick enough for here, too."""

import json
import re
import runpy
import warnings
from importlib import util
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from equitensor.o3 import as_irreps

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = ("train_potential", "custom_backbone", "pyg_message_passing", "active_learning", "lammps_crystal")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run an example as a script, where its files do no harm, and give what it printed; what is global is put back."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    Path("datasets").symlink_to(ROOT / "datasets")
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()

    def run(name: str, *needs: str) -> str:
        for module in needs:
            if not util.find_spec(module):
                pytest.skip(f"needs {module}, which is in an environment of its own (benchmarks/README.md)")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The TorchScript type system")  # e3nn 0.4.4's
            if "mace" in needs or "nequip" in needs:
                warnings.simplefilter("ignore")  # theirs
            as_irreps("0e")  # e3nn 0.4.4 cannot be imported by itself under torch >= 2.6
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    yield run
    plt.close("all")
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def number_after(text: str, words: str) -> float:
    return float(text.split(words)[1].split()[0].rstrip(",%"))


def test_e3nn_network_with_the_import_changed(run):
    out = run("e3nn_import.py")
    assert "All keys matched" in out
    assert number_after(out, "outputs differ by ") < 1e-5 and number_after(out, "forces differ by ") < 1e-5


def test_pyg_message_passing(run):
    pytest.importorskip("torch_geometric", reason="needs torch_geometric (pip install equitensor[pyg])")
    out = run("pyg_message_passing.py")
    assert "Convolution(" in out and "product='gaunt'" in out
    assert number_after(out, "mirrored, energies differ by ") < 1e-4
    assert number_after(out, "eV/A, error ") < 0.5 * number_after(out, "RMS of forces ")


def test_custom_backbone(run):
    out = run("custom_backbone.py")
    assert re.search(r"^Cu8: \d+ checks passed \(", out, re.MULTILINE)
    rows = (r"│ valid +│", r"│ valid, E0s and zero forces +│")
    learned, guessed = (float(re.search(row + r".* ([\d.]+) │$", out, re.MULTILINE)[1]) for row in rows)
    assert learned < 0.1 * guessed


def test_training_tells_left_from_right(run):
    lines = run("train_network.py").splitlines()
    assert "refused" in lines[0] and "1o x 1o -> 1e" in lines[0] and "is odd" in lines[0]
    assert len(lines) == 10
    assert all(number_after(line, "}: ") > 90 for line in lines[1:] if "after 100 steps" in line)


def test_mace_accelerated(run):
    out = run("mace_products.py", "mace")
    assert "interactions.1.conv_tp: Convolution(" in out
    assert "products.1.symmetric_contractions: SymmetricContraction(" in out
    assert number_after(out, "energies differ by ") < 1e-9 and number_after(out, "forces by at most ") < 1e-9


def test_nequip_accelerated(run):
    out = run("nequip_products.py", "nequip")
    assert "modules replaced, 0 left" in out and "(tp): Convolution(" in out
    assert number_after(out, "energies differ by ") < 1e-9 and number_after(out, "forces by at most ") < 1e-9


def test_every_example_is_short_and_on_the_page():
    sources = {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}
    page = (ROOT / "docs" / "examples.md").read_text()
    assert len(sources) == 9
    assert all(f"(../examples/{name})" in page and len(text.splitlines()) < 160 for name, text in sources.items())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_its_script_executed(name):
    """Its cells are those of the script, and what they printed and drew is there; `make notebooks` makes it so."""
    path = EXAMPLES / f"{name}.ipynb"
    cells = json.loads(path.read_text())["cells"]
    script = (EXAMPLES / f"{name}.py").read_text()
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    in_script = [
        part.strip() for part in re.findall(r"^# %%\n(.*?)(?=^# %%|\Z)", script, flags=re.DOTALL | re.MULTILINE)
    ]
    assert code == in_script
    assert [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"] == list(range(1, len(code) + 1))
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < 200_000
    assert str(ROOT) not in path.read_text()

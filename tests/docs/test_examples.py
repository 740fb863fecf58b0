"""The examples of the documentation run and say what they should."""

import runpy
import warnings
from importlib import util
from pathlib import Path

import pytest
import torch

from equitensor.o3 import as_irreps

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def run(capsys):
    """Run an example as a script and give what it printed; the peers' global settings are put back."""
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


def test_every_example_is_short_and_run_here():
    sources = {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}
    here = Path(__file__).read_text()
    assert len(sources) == 5
    assert all(f'run("{name}"' in here for name in sources)
    assert all(len(text.splitlines()) < 60 for text in sources.values())

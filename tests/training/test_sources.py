"""Several sources of training data with weights of their own: what is said of them, and what the loss makes of them."""

from io import StringIO

import pytest
from rich.console import Console

from equitensor.data import graph_loader
from equitensor.training.config import validate
from equitensor.training.setup import open_data

FRAME = (
    "3\nProperties=species:S:1:pos:R:3:forces:R:3 energy={} config_weight=0.5\n"
    "O 0 0 0 0 0 1\nH {} 0 0 0 0 0\nH 0 1 0 0 0 -1\n"
)


def test_sources_and_their_weights_are_said_and_come_to_the_loss(tmp_path):
    for name, count in (("a", 3), ("b", 2), ("c", 4)):
        text = "".join(FRAME.format(-7.0 - 0.1 * i, 0.9 + 0.02 * i) for i in range(count))
        (tmp_path / f"{name}.xyz").write_text(text)
    sources = [str(tmp_path / "a.xyz"), {"path": str(tmp_path / "[bc].xyz"), "weight": 4}]
    config = {"data": {"train": sources, "valid_fraction": 0, "e0s": {"O": -5, "H": -1}}, "model": {"cutoff": 3.0}}
    console = Console(file=StringIO(), width=400)
    run = open_data(validate(config, "a config"), console)
    said = f"{tmp_path / 'a.xyz'}, 3 structures of weight 1; {tmp_path / '[bc].xyz'}, 6 structures of weight 4"
    assert said in console.file.getvalue()
    assert "force constant of 0 +- 0 eV/Angstrom^2; 20 to 60 is usual, and no unit alone" in console.file.getvalue()
    (batch,) = graph_loader(run.train, batch_size=9)
    assert batch.weight.tolist() == pytest.approx([0.5] * 3 + [2.0] * 6)

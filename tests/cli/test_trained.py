"""A model is told apart from what it was trained on when a command asks it for more."""

import pytest

from equitensor import models
from equitensor.cli import main


@pytest.fixture
def trained_on(model_file, folder):
    """trained_on(labels) -> a model file that says so, or nothing for None."""

    def make(labels):
        path = folder / "that.eqt"
        models.save(models.load(model_file), path, {} if labels is None else {"labels": labels})
        return str(path)

    return make


@pytest.mark.parametrize(
    "command, labels, warned",
    [
        (["md", "crystal.cif", "--steps", "1", "--ensemble", "npt"], ["energy", "forces"], ["stress"]),
        (["md", "crystal.cif", "--steps", "1", "--ensemble", "npt"], ["energy", "forces", "stress"], []),
        (["md", "crystal.cif", "--steps", "1"], ["energy", "forces"], []),
        (["md", "crystal.cif", "--steps", "1"], ["energy"], ["forces"]),
        (["relax", "crystal.cif", "--cell", "--steps", "1"], ["energy", "forces"], ["stress"]),
        (["relax", "crystal.cif", "--steps", "1"], ["energy", "forces"], []),
        (["md", "crystal.cif", "--steps", "1", "--ensemble", "npt"], None, []),
    ],
)
def test_untrained_labels_are_said(trained_on, capsys, command, labels, warned):
    name, *rest = command
    assert main([name, trained_on(labels), *rest, "--device", "cpu"]) in (0, 1)
    error = capsys.readouterr().err
    assert error.count("warning") == len(warned)
    for label in warned:
        assert f"that.eqt was not trained on {label}" in error

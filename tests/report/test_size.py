"""A page stays small whatever its data are: many parts, large periodic structures, every label, error bars."""

import numpy as np
import pytest

from equitensor.graph import Structure
from equitensor.report.page import page
from equitensor.report.part import part_content
from equitensor.report.progress import progress_content
from equitensor.report.run_files import RunFiles
from equitensor.training.calibration import Calibration
from equitensor.training.evaluation import tally

ATOMS, STRUCTURES = 90, 250


@pytest.fixture(scope="module")
def evaluation():
    """Crystals of 90 atoms with energies, forces and stress, each with an error bar."""
    rng = np.random.default_rng(0)
    bars, pairs = Calibration(), []
    for k in range(STRUCTURES):
        z = rng.choice([6, 8, 29], ATOMS)
        label = Structure(
            z,
            10 * rng.random((ATOMS, 3)),
            10 * np.eye(3),
            np.ones(3, bool),
            energy=-5.0 * ATOMS + rng.normal(),
            forces=rng.normal(size=(ATOMS, 3)),
            stress=rng.normal(size=(3, 3)),
            config_type=f"kind {k % 7}",
            source=f"a/folder/with/a/rather/long/name/of/a/file.extxyz, frame {k}",
        )
        out = {
            "energy": label.energy + 0.1 * rng.normal(),
            "forces": label.forces + 0.1 * rng.normal(size=(ATOMS, 3)),
            "stress": label.stress + 0.1 * rng.normal(size=(3, 3)),
            "energy_std": 0.1,
            "forces_std": 0.1 + 0.1 * rng.random(ATOMS),
            "novelty": rng.random(ATOMS),
        }
        bars.add(label, out)
        pairs.append((label, label.replace(**{name: out[name] for name in ("energy", "forces", "stress")})))
    result = tally(pairs)
    result.calibration = bars
    return result


@pytest.mark.parametrize("parts", [1, 4])
def test_a_page_of_much_data_is_below_three_megabytes(evaluation, tmp_path, parts):
    content = progress_content(RunFiles(tmp_path, "data: {}\n", {}, None))
    e0s = {6: -1.0, 8: -2.0, 29: -3.0}
    for k in range(parts):
        first = len(content["structures"])
        part, structures = part_content(f"part {k}", evaluation, e0s, STRUCTURES, parts, first)
        content["parts"].append(part)
        content["structures"] += structures
    text = page(content)
    assert 1.5e6 < len(text.encode()) < 3e6
    assert sum(len(each["symbols"]) for each in content["structures"]) <= 16_000
    for k, part in enumerate(content["parts"]):
        own = [place for plot in part["parity"] for place in plot["points"]["s"] if place >= 0]
        assert content["structures"][min(own)]["name"] == part["outliers"]["rows"][0][0]
        assert len({place // len(structures) for place in own}) == 1 and min(own) // len(structures) == k
        assert "of them can be shown" in part["bound"]
        assert {plot["title"] for plot in part["parity"]} == {"energy per atom less E0s", "forces", "stress"}

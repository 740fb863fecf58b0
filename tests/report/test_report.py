"""The page of a run: all sections, the right values, nothing loaded, bounded; what has moved is said."""

import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import ase.io
import numpy as np
import pytest

import equitensor.report
from equitensor.cli import main
from equitensor.report import write_report
from equitensor.report.comparison import Comparison
from equitensor.report.embedded import ATOMS, STRUCTURES, choose
from equitensor.report.page import ASSETS, VENDORED, libraries, page
from equitensor.report.points import points
from equitensor.report.progress import progress_content
from equitensor.report.run_files import read_run


class Loads(HTMLParser):
    """Everything in a page by which a browser would load something; its scripts."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.scripts = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        for name, value in attributes:
            if name in ("src", "href", "srcset", "data", "action", "poster") and not value.startswith(("#", "data:")):
                self.loaded.append((tag, name, value))


@pytest.fixture(scope="module")
def content(report, content_of):
    return content_of(report)


def test_every_section_is_there(content, run):
    assert [part["name"] for part in content["parts"]] == ["valid", "train"]
    assert [panel["title"] for panel in content["curves"]["panels"]] == [
        *("loss", "energy per atom", "forces", "learning rate")
    ]
    valid = content["parts"][0]
    titles = ["All structures", "Errors by config_type", "Errors by element"]
    assert [table["title"] for table in valid["tables"]] == titles
    assert [row[0] for row in valid["tables"][2]["rows"]] == ["H", "C", "N", "O"]
    assert [plot["title"] for plot in valid["parity"]] == ["energy per atom less E0s", "forces"]
    assert [plot["title"] for plot in valid["calibration"]] == ["energy", "forces"]
    assert valid["bound"] == "structures: all 70; each can be shown" and len(valid["outliers"]["rows"]) == 50
    assert content["config"] == (run / "config.yaml").read_text()
    assert content["state"].startswith("finished: 10 epochs")
    by_name = {row[0]: row[1:] for row in content["versions"]["rows"]}
    assert by_name["torch"][0] == by_name["torch"][1] != ""  # the run's own and those of the report


def test_errors_are_those_of_the_run(content, run):
    (row,) = content["parts"][0]["tables"][0]["rows"]
    columns = [column["title"] for column in content["parts"][0]["tables"][0]["columns"]]
    expected = json.loads((run / "summary.json").read_text())["errors"]["valid"]
    for name in ("energy", "energy per atom", "forces"):
        for kind in ("mae", "rmse"):
            value = row[columns.index(f"{name} {kind.upper()}")]
            assert value == pytest.approx(1000 * expected[f"{name.replace(' ', '_')}_{kind}"], rel=1e-3)
    assert row[1:3] == [expected["n_structures"], expected["n_atoms"]]
    for plot, name in zip(content["parts"][0]["parity"], ("energy_per_atom", "forces"), strict=True):
        errors = np.subtract(plot["points"]["y"], plot["points"]["x"])
        assert plot["rmse"] == pytest.approx(1000 * expected[f"{name}_rmse"], rel=1e-3)
        assert 1000 * np.sqrt(np.mean(errors**2)) == pytest.approx(plot["rmse"], rel=1e-2)


def test_points_belong_to_the_atoms_that_they_name(content, alanine_data):
    frames = ase.io.read(alanine_data / "train.xyz", ":")
    structures = content["structures"]
    of = [frames[int(re.search(r"frame (\d+)$", each["name"]).group(1))] for each in structures]
    for held, atoms in zip(structures, of, strict=True):
        assert held["symbols"] == atoms.get_chemical_symbols()
        assert np.abs(np.reshape(held["pos"], (-1, 3)) - atoms.positions).max() <= 5.1e-4
    shown = content["parts"][0]["parity"][1]["points"]
    assert len(shown["x"]) == shown["of"] == 3 * sum(len(of[place]) for place in set(shown["s"]))
    for x, y, s, a in zip(*(shown[name] for name in "xysa"), strict=True):
        k = np.abs(of[s].get_forces()[a] - x).argmin()
        assert of[s].get_forces()[a, k] == pytest.approx(x, abs=1e-4)
        assert structures[s]["force_error"][3 * a + k] == pytest.approx(y - x, abs=5e-4)


def test_the_page_loads_nothing_and_is_small(report):
    text = report.read_text()
    loads = Loads(text)
    assert loads.loaded == [] and loads.scripts == 3
    assert "default-src 'none'" in text and "connect-src 'none'" in text
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    for path in ASSETS.glob("*"):
        assert not re.search(r"https?://", path.read_text()), path.name
    assert report.stat().st_size < 3e6


def test_names_from_files_cannot_become_html(trained_run):
    name = '</script><script>alert("x")</script><!--'
    text = page(progress_content(read_run(trained_run)) | {"title": name, "notes": [name]})
    assert Loads(text).scripts == 3 and "<script>alert" not in text


def test_libraries_are_those_listed_with_their_licences(report):
    text = report.read_text()
    listed = set()
    for package in libraries():
        for path, digest in package["files"].items():
            file = VENDORED / package["name"] / Path(path).name
            assert hashlib.sha256(file.read_bytes()).hexdigest() == digest, f"{file}: make vendored writes it anew"
            listed.add(file)
        licence = (VENDORED / package["name"] / "LICENSE").read_text()
        words = next(line for line in licence.splitlines() if "Copyright" in line or "incorporates" in line)
        assert f"{package['name']} {package['version']}" in text and words.strip() in text
    assert listed == {path for path in VENDORED.glob("*/*") if path.is_file()}


def test_a_page_holds_the_worst_structures_and_some_others_within_bounds():
    rng = np.random.default_rng(0)
    sizes = np.full(3000, 100)
    error = rng.normal(size=3000)
    zeros, atom = np.zeros(3000), np.full(3000, -1)
    compared = [Comparison(None, "", zeros, error, np.arange(3000), atom)]
    worst, drawn = choose(compared, sizes, parts=1)
    assert worst == np.argsort(-np.abs(error))[: len(worst)].tolist() and len(worst) == STRUCTURES // 2
    assert not set(worst) & set(drawn) and sizes[[*worst, *drawn]].sum() == ATOMS
    alone, others = choose(compared, sizes, parts=4)
    assert len(alone) + len(others) == ATOMS // 4 // 100
    assert choose(compared, np.full(3000, ATOMS + 1), parts=1) == ([], [])


def test_points_are_bounded_and_keep_the_worst():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    error = 1e-3 * rng.normal(size=20_000)
    some = points(x, x + error, np.arange(20_000), np.full(20_000, -1), {0: 7}, 1000, rank=np.abs(error))
    assert len(some["x"]) == 1000 and some["of"] == 20_000
    kept = np.abs(np.subtract(some["y"], some["x"]))
    assert np.sort(kept)[-100:] == pytest.approx(np.sort(np.abs(error))[-100:], abs=2e-6)
    assert set(some["s"]) <= {-1, 7}


@pytest.fixture
def copied(run, tmp_path, content_of):
    """copied(*overrides) -> (content, notes) of the report of a copy of the run."""
    folder = tmp_path / "copy"
    shutil.copytree(run, folder)

    def made(*overrides):
        path, notes = write_report(folder, overrides=overrides)
        assert path == folder / "report.html"
        return content_of(path), notes

    return made, folder


def test_data_that_have_moved_are_said(copied):
    made, _ = copied
    content, notes = made("data.train=absent.xyz")
    assert content["parts"] == content["structures"] == [] and len(content["curves"]["panels"]) == 4
    assert notes == content["notes"] and len(notes) == 2
    assert all("its predictions are not shown: absent.xyz" in note for note in notes)


def test_data_that_have_changed_are_not_taken_for_those_of_the_run(copied, tmp_path, alanine_data):
    made, folder = copied
    frames = ase.io.read(alanine_data / "train.xyz", ":")
    frames[7].calc.results["energy"] += 0.5
    ase.io.write(tmp_path / "other.xyz", frames, format="extxyz")
    content, notes = made(f"data.train={tmp_path / 'other.xyz'}")
    assert content["parts"] == [] and "its labels are others" in notes[0]
    (folder / "last.ckpt").unlink()
    content, notes = made(f"data.train={tmp_path / 'other.xyz'}")
    assert len(content["parts"]) == 2 and "could not be checked" in notes[0]


def test_a_run_that_was_resumed_is_not_called_finished(copied):
    _, folder = copied
    lines = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    cells = lines[-1].rstrip().split(",")
    cells[lines[0].split(",").index("step")] = "100000"
    (folder / "metrics.csv").write_text("".join([*lines, ",".join(cells) + "\n", ",".join(cells)[:20]]))
    run = read_run(folder)
    assert run.summary is None and run.rows == len(lines) and run.last["step"] == 100_000
    assert "not finished" in progress_content(run)["state"]


@pytest.mark.parametrize(
    "what, message",
    [
        ("absent", "does not exist"),
        ("file", "is a file"),
        ("empty", "it holds no config.yaml"),
        ("begun", "has no predictions yet"),
        ("unsplit", "no split.json"),
        ("damaged", "metrics.csv is damaged"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(run, tmp_path, capsys, what, message):
    folder = tmp_path / what
    if what == "file":
        folder.write_text("")
    elif what != "absent":
        shutil.copytree(run, folder)
        removed = {"empty": "config.yaml", "begun": "model.eqt", "unsplit": "split.json"}
        if what == "damaged":
            (folder / "metrics.csv").write_text("step,lr\n1,fast\n")
        else:
            (folder / removed[what]).unlink()
    capsys.readouterr()
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (folder / "report.html").exists()


def test_the_command(run, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    assert main(["report", str(run), "--out", str(out), "--structures", "5"]) == 0
    assert f"{out}: 0." in capsys.readouterr().out
    assert "5 of 70, evenly spaced" in out.read_text()
    assert main(["report", str(run), "--structures", "0"]) == 2


def test_public_names():
    assert {"write_report", "watched"} <= set(dir(equitensor.report))

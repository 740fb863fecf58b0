"""`equitensor bench` runs and says what was measured."""

import json

from equitensor.cli import main


def test_every_case_is_timed(tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert main(["bench", "--rounds", "1", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert {"machine", "threads", "versions", "dtype", "load"} <= set(result["environment"])
    printed = capsys.readouterr().out
    for case, row in result["milliseconds"].items():
        assert case in printed
        assert row["cg"] > 0 and row["gaunt"] > 0
    assert any("e3nn" in row for row in result["milliseconds"].values())


def test_half_a_file_of_times_is_none(tmp_path, monkeypatch, capsys):
    for name in ("time_products", "time_model"):
        monkeypatch.setattr(f"equitensor.bench.{name}", lambda *_: {})
    (tmp_path / "bench.json").mkdir()
    assert main(["bench", "--rounds", "1", "--json", str(tmp_path / "bench.json")]) == 2
    assert "bench.json could not be written" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial"))


def test_no_rounds_are_refused(capsys):
    assert main(["bench", "--rounds", "0"]) == 2
    assert "--rounds" in capsys.readouterr().err

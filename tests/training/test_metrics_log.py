"""metrics.csv, and what the loggers are handed."""

import csv
import sys

import pytest

from equitensor.errors import InputError
from equitensor.training.metrics_log import MetricsLog


class Recorder:
    def __init__(self):
        self.rows, self.closed = [], False

    def log_metrics(self, metrics, step):
        self.rows.append((step, metrics))

    def finalize(self, status):
        self.closed = status == "success"


def test_rows_are_appended_and_handed_on(tmp_path):
    for step in (10, 20):  # the second time as a resumed run would
        log = MetricsLog(tmp_path)
        log.loggers = [Recorder()]
        log.write({"seconds": 1.5, "step": step, "train_forces_rmse": None})
        log.close()
        assert log.loggers[0].rows == [(step, {"seconds": 1.5})] and log.loggers[0].closed
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["10", "20"]


@pytest.mark.parametrize("torn", ["", "3.5,3", "1.5,20,0.1,"])
def test_rows_of_later_steps_and_half_rows_are_dropped(tmp_path, torn):
    log = MetricsLog(tmp_path)
    for step in (10, 20, 30):
        log.write({"seconds": 1.5, "step": step})
    before = log.path.read_bytes()
    log.path.write_bytes(before + torn.encode())
    log.drop_after(20)
    assert log.path.read_bytes() == before[: before.index(b"1.5,30")]
    log.drop_after(5)
    assert log.path.read_text() == "seconds,step\n"
    log.path.write_text("seco")
    log.drop_after(20)
    log.write({"seconds": 1.5, "step": 7})
    assert log.path.read_text() == "seconds,step\n1.5,7\n"


def test_a_missing_logger_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch.loggers", None)
    with pytest.raises(InputError, match=r"wandb.*pip install 'equitensor\[wandb\]'"):
        MetricsLog(tmp_path, ["wandb"])

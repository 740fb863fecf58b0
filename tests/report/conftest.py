"""A run whose model has error bars, and its report."""

import json
import re
import shutil

import pytest


@pytest.fixture(scope="session")
def run(trained_run, tmp_path_factory, alanine_data):
    """The folder of the short training, copied, with error bars in its model."""
    from equitensor.cli import main

    folder = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(trained_run, folder)
    data = str(alanine_data / "test_hot.xyz")
    assert main(["uncertainty", str(folder / "model.eqt"), data, "--calibrate", data]) == 0
    return folder


@pytest.fixture(scope="session")
def report(run, tmp_path_factory):
    """The page of that run."""
    from equitensor.report import write_report

    path, notes = write_report(run, tmp_path_factory.mktemp("page") / "report.html")
    assert notes == []
    return path


@pytest.fixture(scope="session")
def content_of():
    """content_of(path): what the page's script draws."""

    def content_of(path):
        return json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text()).group(1))

    return content_of

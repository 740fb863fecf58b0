"""A run is shown while it goes on: to this machine alone, for reading alone, as long as it lasts."""

import http.client
import json
import re
import socket

import pytest

from equitensor.cli import main
from equitensor.errors import InputError
from equitensor.report import watched

HEADER = "seconds,epoch,step,lr,train_loss,valid_forces_rmse,valid_loss\n"


def ask(address, path="/", method="GET", **headers):
    """(status, text) of an answer."""
    host, port = re.match(r"http://([\d.]+):(\d+)/", address).groups()
    assert host == "127.0.0.1"
    connection = http.client.HTTPConnection(host, int(port), timeout=100)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    reply = answer.status, answer.read().decode()
    connection.close()
    return reply


def test_a_run_is_shown_as_it_grows(tmp_path):
    with watched(tmp_path) as address:
        status, text = ask(address)
        assert status == 200 and "connect-src 'self'" in text
        empty = json.loads(ask(address, "/data.json")[1])
        assert empty["state"] == "no validation yet" and empty["live"] and empty["curves"]["panels"] == []
        (tmp_path / "config.yaml").write_text("data: {train: a.xyz}\n")
        (tmp_path / "metrics.csv").write_text(HEADER + "30.0,1,10,0.01,2.5,0.3,2.0\n60.0,2,20,0.01,1.5,")
        grown = json.loads(ask(address, "/data.json")[1])
        assert grown["curves"]["columns"]["valid_loss"] == [2.0] and "a.xyz" in grown["config"]
        assert grown["state"] == "going on: 1 epochs, 10 steps in 30 s"
    with pytest.raises(ConnectionRefusedError):
        ask(address)


def test_nothing_else_is_answered(tmp_path):
    (tmp_path / "config.yaml").write_text("secret: 1\n")
    with watched(tmp_path) as address:
        for path in ("/config.yaml", "/../config.yaml", "/data.json?x=1"):
            assert ask(address, path)[0] == 404
        for method in ("POST", "PUT", "DELETE"):
            assert ask(address, method=method)[0] == 501
        assert ask(address, "/data.json", Host="elsewhere.example:80")[0] == 403
        assert ask(address, method="HEAD") == (200, "")


def test_a_port_that_is_taken_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"), watched(tmp_path, port):
            pass


def test_train_says_where(tmp_path, monkeypatch, capsys, alanine_data):
    import ase.io

    monkeypatch.chdir(tmp_path)
    ase.io.write("data.xyz", ase.io.read(alanine_data / "train.xyz", ":12"), format="extxyz")
    (tmp_path / "train.yaml").write_text(
        "data: {train: data.xyz, valid_fraction: 0.25}\n"
        "model: {cutoff: 3.0, channels: 4, edge_channels: 4, lmax: 1, layers: 1, num_radial: 4}\n"
        "train: {batch_size: 8, max_epochs: 1, device: cpu}\noutput: run\n"
    )
    monkeypatch.setattr("equitensor.training.plots._write", lambda figure, path: path)
    assert main(["train", "train.yaml", "--watch"]) == 0
    address = re.search(r"watch: (http://127\.0\.0\.1:\d+/)", capsys.readouterr().out).group(1)
    with pytest.raises(ConnectionRefusedError):
        ask(address)
    for options, message in ((["--port", "80"], "--watch"), (["--watch", "--check"], "--check")):
        assert main(["train", "train.yaml", "output=other", *options]) == 2
        assert message in capsys.readouterr().err
    assert main(["train", "train.yaml", "output=other", "--watch", "--port", "99999"]) == 2
    assert "port 99999 cannot be used" in capsys.readouterr().err

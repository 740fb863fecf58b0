"""Peak memory in one unit on every system."""

import sys
from types import SimpleNamespace

import pytest

from equitensor.training.memory import peak_memory


def test_this_process_has_needed_what_it_holds():
    before = peak_memory()
    block = bytearray(300_000_000)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_memory() > 300 and peak_memory() >= before


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1), ("freebsd14", 1024)])
def test_units_of_unix_systems(monkeypatch, platform, unit):
    fake = SimpleNamespace(
        RUSAGE_SELF=0, RUSAGE_CHILDREN=-1, getrusage=lambda who: SimpleNamespace(ru_maxrss=5000 - who)
    )
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory() == pytest.approx(5000 * unit / 1e6)
    assert peak_memory(children=True) == pytest.approx(5001 * unit / 1e6)


def test_windows_has_no_resource_module(monkeypatch):
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=7_000_000))
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    monkeypatch.setattr(sys, "platform", "win32")
    assert peak_memory() == 7.0
    with pytest.raises(NotImplementedError):
        peak_memory(children=True)

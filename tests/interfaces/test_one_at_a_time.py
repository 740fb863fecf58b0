"""Threads and forked processes: refused with a sentence where they would give wrong results or hang."""

import copy
import os
import pickle
import threading

import pytest
import torch

from equitensor.interfaces import Calculator, one_at_a_time
from equitensor.interfaces.one_at_a_time import OneAtATime, note_threads, refuse_after_fork


class Slow:
    """A model that waits in the middle of a computation."""

    def __init__(self, model):
        self.model, self.inside, self.go_on = model, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, *arguments, **options):
        self.inside.set()
        assert self.go_on.wait(30)
        return self.model(*arguments, **options)


def test_a_calculator_is_for_one_thread(morse, cluster):
    calc, results = Calculator(morse, device="cpu"), []
    calc._engine.model = slow = Slow(calc.model)
    thread = threading.Thread(target=lambda: results.append(calc.get_potential_energy(cluster)))
    thread.start()
    assert slow.inside.wait(30)
    for ask in (calc.get_forces, calc.calculate, calc.descriptors):
        with pytest.raises(RuntimeError, match="each thread a calculator of its own"):
            ask(cluster)
    slow.go_on.set()
    thread.join()
    assert results == [calc.get_potential_energy(cluster)]


def test_copies_are_free_and_the_owner_may_enter_again():
    lock = OneAtATime()
    entered = []

    def enter(other):
        with other:
            entered.append(other)

    with lock, lock:
        for free in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            thread = threading.Thread(target=enter, args=(free,))
            thread.start()
            thread.join()
    assert len(entered) == 2


@pytest.fixture
def fresh_process(monkeypatch):
    """As if nothing had been computed in this process."""
    monkeypatch.setattr(one_at_a_time, "_computed_in_threads", False)
    monkeypatch.setattr(one_at_a_time, "_forked_after", False)


def in_child(function) -> str:
    """What a forked child says of function()."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            function()
            os.write(write, b"fine")
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_forked_after_threads_is_told(fresh_process, monkeypatch, morse, cluster):
    note_threads(1)
    assert in_child(lambda: note_threads(2)) == "fine"
    note_threads(2)
    for computation in (note_threads, refuse_after_fork):
        assert 'get_context("spawn")' in in_child(lambda c=computation: c(2))
        assert in_child(lambda c=computation: c(1)) == "fine"
    calc = Calculator(morse, device="cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert "OpenMP hangs" in in_child(lambda: calc.get_potential_energy(cluster))
    assert "OpenMP hangs" in in_child(lambda: Calculator(morse, device="cpu"))

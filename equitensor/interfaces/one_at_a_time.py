"""A calculator is for one thread, and a process forked off one that computed with several threads must not go on."""

import os
import threading


class OneAtATime:
    """A lock that refuses instead of waiting: whoever waited would find the results of another structure.

    The thread that holds it may take it again. Copies and pickles are free.
    """

    def __init__(self):
        self._lock = threading.RLock()

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "this calculator is computing in another thread: give each thread a calculator of its own "
                "(copy.deepcopy(calc), or Calculator(path) in each)"
            )
        return self

    def __exit__(self, *_):
        self._lock.release()

    def __reduce__(self):
        return OneAtATime, ()


_computed_in_threads = _forked_after = False


def note_threads(threads: int) -> None:
    """To be told before a computation with so many OpenMP threads. Raises what `refuse_after_fork` raises."""
    global _computed_in_threads
    refuse_after_fork(threads)
    _computed_in_threads = _computed_in_threads or threads > 1


def threads_hang() -> bool:
    """Whether several OpenMP threads would hang in this process."""
    return _forked_after


def refuse_after_fork(threads: int) -> None:
    """Raise RuntimeError where a computation with so many OpenMP threads would hang for ever."""
    if threads > 1 and threads_hang():
        raise RuntimeError(
            "this process was forked after its parent had computed with several threads, where OpenMP hangs: start "
            'workers with multiprocessing.get_context("spawn"), or compute with one thread in each of them: '
            "Calculator(..., threads=1), with torch torch.set_num_threads(1)"
        )


def _in_child():
    global _forked_after
    _forked_after = _forked_after or _computed_in_threads


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_in_child)

"""Processes that read the pieces of a conversion side by side; their batches come in the order of the pieces."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from queue import Queue

from equitensor.data.pieces import Piece, RecordBatch, batches
from equitensor.data.store_writer import ResumableError
from equitensor.errors import InputError

_AHEAD = 64  # batches of a megabyte that a worker holds for the process that writes
_WATCH = 0.5  # seconds between two looks at whether that process is still there


class Workers:
    """`count` processes, of which number k reads the pieces k, k + count, ...; one: this process, no other.

    Use as a context manager. They are made at once, so that they hold nothing that is opened later.
    """

    def __init__(self, count: int, pieces: list[Piece], options: dict, on_bad: str):
        self.pieces, self.how = pieces, (options, on_bad)
        self.count = max(1, min(count, len(pieces)))
        self.processes, self.pipes = [], []
        if self.count > 1:
            context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
            for number in range(self.count):
                self._start(context, number)

    def _start(self, context, number):
        ours, theirs = context.Pipe()
        inherited = [*self.pipes, ours] if context.get_start_method() == "fork" else []
        what = (theirs, inherited, os.getpid(), number, self.count, self.pieces, *self.how)
        process = context.Process(target=_work, args=what, daemon=True)
        process.start()
        theirs.close()
        self.processes.append(process)
        self.pipes.append(ours)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
        for process, pipe in zip(self.processes, self.pipes, strict=True):
            pipe.close()
            process.join()

    def batches(self, first: int) -> Iterator[tuple[int, int, RecordBatch]]:
        """(piece, number of the batch in it, batch) from a piece on. Raises what a reader raises, in its turn."""
        if not self.processes:
            for number in range(first, len(self.pieces)):
                yield from ((number, k, b) for k, b in enumerate(batches(self.pieces[number], *self.how)))
            return
        for pipe in self.pipes:
            pipe.send(first)
        for number in range(first, len(self.pieces)):
            k, last = 0, False
            while not last:
                batch = self._receive(number % self.count)
                last = batch.last
                yield number, k, batch
                k += 1

    def _receive(self, worker: int) -> RecordBatch:
        try:
            message = self.pipes[worker].recv()
        except (EOFError, OSError):
            raise ResumableError(
                "a process that reads the data was ended from outside (was there too little memory?): repeat the "
                "command, which goes on where it was, with fewer --workers"
            ) from None
        if isinstance(message, Exception):
            raise message
        return message


def _work(pipe, inherited, parent: int, number: int, count: int, pieces: list[Piece], options: dict, on_bad: str):
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that writes ends its workers
    for each in inherited:
        each.close()  # or no worker would see that the process that reads them is gone
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    queue: Queue = Queue(maxsize=_AHEAD)
    sender = threading.Thread(target=_send, args=(pipe, queue))
    try:
        first = pipe.recv()
    except EOFError:
        return
    sender.start()
    try:
        for i in range(first + (number - first) % count, len(pieces), count):
            for batch in batches(pieces[i], options, on_bad):
                queue.put(batch)
    except InputError as error:
        queue.put(error)
    except BaseException:
        queue.put(RuntimeError("in a process that reads the data:\n" + traceback.format_exc()))
    queue.put(None)
    sender.join()


def _send(pipe, queue: Queue):
    try:
        while (batch := queue.get()) is not None:
            pipe.send(batch)
    except OSError:
        os._exit(1)


def _end_with(parent: int):
    """A killed process cannot end its workers."""
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)

"""A process beside this one that takes its shard of each batch through the model and back.

It is a Python of its own, not a fork, which autograd and OpenMP would not survive; requests and answers go through its
standard input and output, numbers of the size of the model through a file that both have mapped. It ends when this
process does, however that ends: its input is then closed.
"""

import atexit
import os
import pickle
import subprocess
import sys

from equitensor.cores import usable_cores
from equitensor.errors import InputError

_START = """import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = {path!r}
import equitensor.models.potential
from equitensor.training.shard_server import serve
serve()
"""
_idle: list["ShardProcess"] = []


class ShardProcess:
    """`ask` lets it call a method of `Server`, `answer` waits for what that returns or raises."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _START.format(path=sys.path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.owner, self.asked = os.getpid(), False

    def ask(self, name: str, *arguments) -> None:
        if self.asked:
            raise RuntimeError("asked anew before it has answered")  # it would be taken for the answer to this
        message = pickle.dumps((name, arguments), protocol=pickle.HIGHEST_PROTOCOL)
        try:
            write(self.process.stdin, message)
        except BrokenPipeError:
            raise self._ended() from None
        self.asked = True

    def answer(self):
        """Raises what the method raised, and InputError where the process has ended."""
        try:
            result, error, trace = pickle.loads(pickle.load(self.process.stdout))
        except EOFError:
            raise self._ended() from None
        self.asked = False
        if error is not None:
            raise error from RuntimeError(f"in the process of a shard:\n{trace}")
        return result

    def _ended(self) -> InputError:
        code = self.process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return InputError(
            f"the process that takes its share of each batch {how}, as where memory runs out: go on from the last "
            "checkpoint with --resume; train.threads=1 takes less memory"
        )

    @property
    def usable(self) -> bool:
        """Whether it is alive and has answered everything; a process that is forked off has to start its own."""
        return self.owner == os.getpid() and not self.asked and self.process.poll() is None

    def end(self) -> None:
        if self.owner == os.getpid():
            self.process.kill()
            self.process.communicate()


def taken(count: int) -> list[ShardProcess]:
    """So many processes, of those that were given back or new ones."""
    processes = []
    while _idle and len(processes) < count:
        process = _idle.pop()
        if process.usable:
            processes.append(process)
        else:
            process.end()
    return processes + [ShardProcess() for _ in range(count - len(processes))]


def give_back(processes: list[ShardProcess]) -> None:
    """For later ones to take: starting a process takes seconds. One that still computes is ended."""
    for process in processes:
        if process.usable:
            _idle.append(process)
        else:
            process.end()


def start_early() -> None:
    """One process, which takes seconds to start, beside whatever is done here meanwhile; unless one thread will do."""
    if usable_cores() > 1 and os.environ.get("OMP_NUM_THREADS") != "1":
        give_back(taken(1))


@atexit.register
def end_idle() -> None:
    """End those that nobody has taken."""
    while _idle:
        _idle.pop().end()


def write(stream, message: bytes) -> None:
    """Pickled once more, as bytes: so a message that cannot be read is read over to its end."""
    pickle.dump(message, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()

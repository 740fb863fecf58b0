"""A run that goes on, shown to browsers of this machine by a process of its own, which ends with the run."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from equitensor.errors import InputError


@contextmanager
def watched(folder: Path, port: int = 0) -> Iterator[str]:
    """The address at which the run in a folder is shown as long as the context lasts; port 0: one that is free.

    The process reads the run's files when a browser asks, and nothing else: the training takes no part in it. Raises
    InputError for a port that cannot be had.
    """
    command = [sys.executable, "-m", "equitensor.report.server", str(folder), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            answer = process.stdout.readline().strip()
            if not answer.startswith("http"):
                raise InputError(f"--watch: port {port} cannot be used ({answer or 'no answer'}): give another --port")
            yield answer
        finally:
            process.terminate()

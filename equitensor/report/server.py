"""`python -m equitensor.report.server FOLDER PORT`: the live page, on 127.0.0.1 only, until its input ends.

It prints its address, or why there is none. Nothing can be changed through it: it answers GET and HEAD of two paths.
"""

import contextlib
import os
import signal
import sys
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from equitensor.errors import InputError
from equitensor.report.page import as_json, page
from equitensor.report.progress import progress_content
from equitensor.report.run_files import RunFiles, read_run

HOST = "127.0.0.1"


def live_content(folder: Path) -> dict:
    """What is known of a run; of one that has only begun, nothing yet."""
    try:
        run = read_run(folder)
    except InputError:
        run = RunFiles(folder, "", {}, None)
    return progress_content(run, live=True)


class _Answers(BaseHTTPRequestHandler):
    """Reads the run's files anew for every question."""

    server_version, sys_version = "equitensor", ""

    def __init__(self, *arguments, folder: Path) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)  # another site's name that was made to point here
        elif self.path == "/":
            self._answer("text/html", page(live_content(self.folder)))
        elif self.path == "/data.json":
            self._answer("application/json", as_json(live_content(self.folder)))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET

    def _answer(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(HTTPStatus.OK)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # the browser has gone
                self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        """Nothing: the terminal is that of the training."""


def main(folder: str, port: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which ends this
    if hasattr(os, "nice"):
        os.nice(5)
    try:
        server = ThreadingHTTPServer((HOST, int(port)), partial(_Answers, folder=Path(folder)))
    except (OSError, OverflowError) as error:
        print(getattr(error, "strerror", None) or error, flush=True)
        return 1
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://{HOST}:{server.server_address[1]}/", flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

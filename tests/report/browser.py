"""Chromium without a window, driven over the pipe of its DevTools protocol, with the standard library alone."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 120.0  # seconds that an answer may take on a machine with much to do


def find_chromium():
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser(folder):
    """A Browser whose profile is in this folder; it and its processes are gone afterwards."""
    to_read, to_send = os.pipe(), os.pipe()
    flags = (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run"),
        *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"),
        f"--user-data-dir={folder}",
    )
    command = f'exec "$0" "$@" 3<&{to_send[0]} 4>&{to_read[1]}'  # where the protocol wants them
    process = subprocess.Popen(
        ["bash", "-c", command, find_chromium(), *flags, "about:blank"],
        pass_fds=(to_send[0], to_read[1]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_send[0])
    os.close(to_read[1])
    try:
        yield Browser(to_read[0], to_send[1])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(to_read[0])
        os.close(to_send[1])


class Browser:
    """One page. events: all that it told of since `open`."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing, self._rest, self._count = reading, writing, b"", 0
        self.events: list[dict] = []
        pages = self._call("Target.getTargets", session=None)["targetInfos"]
        target = next(each["targetId"] for each in pages if each["type"] == "page")
        self._session = None
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a page in a window of this size, by light or dark, and wait until it is there."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url="about:blank")
        self.wait("document.readyState === 'complete' && location.href === 'about:blank'")
        self.events.clear()
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression: str):
        """The value of an expression. Raises AssertionError for one that throws."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + _PATIENCE
        while not self.js(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.05)

    def click(self, x: float, y: float) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = {"Enter": 13, "ArrowRight": 39}[key]
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def screenshot(self, whole: bool = False, **clip) -> bytes:
        """PNG of the window, of the whole page, or of a part (x, y, width, height)."""
        area = {"clip": clip | {"scale": 1}} if clip else {}
        return base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=whole, **area)["data"])

    def errors(self) -> list[str]:
        """What the console and the log hold: errors, warnings, exceptions."""
        messages = []
        for event in self.events:
            told = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                messages.append(str(told["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                messages.append(f"{told['entry']['source']}: {told['entry']['text']}")
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                messages.append(str([each.get("value", each.get("description")) for each in told["args"]]))
        return messages

    def requests(self) -> list[str]:
        """The addresses that were asked for."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def _call(self, method: str, session: str | None = "own", **parameters):
        self._count += 1
        number, message = self._count, {"id": self._count, "method": method, "params": parameters}
        if session == "own" and getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def _next(self) -> dict:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], _PATIENCE)
            assert ready, "Chromium does not answer"
            part = os.read(self._reading, 1 << 16)
            assert part, "Chromium has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

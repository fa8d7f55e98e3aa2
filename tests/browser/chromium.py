"""A real Chromium without a window, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    # No name is found, so that a page that asks for anything does not get it.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


def find() -> str | None:
    """The browser's command, by CEIFLOW_CHROMIUM or on the path."""
    named = os.environ.get("CEIFLOW_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser with one tab.

    `faults` holds what the console and the page's scripts complained of, `requests` the addresses of all that
    a page asked for, both since the last `open`.
    """

    def __init__(self, command: str):
        self.folder = tempfile.mkdtemp(prefix="chromium-")
        self.process = subprocess.Popen(
            [command, *OPTIONS, f"--user-data-dir={self.folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.events: list[dict] = []
        self.number = 0
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        import urllib.request

        import websocket

        where = Path(self.folder, "DevToolsActivePort")
        limit = time.monotonic() + 60
        while not (where.is_file() and where.read_text().strip()):
            if time.monotonic() > limit or self.process.poll() is not None:
                raise RuntimeError("Chromium did not start")
            time.sleep(0.05)
        port = where.read_text().split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            tab = next(item for item in json.load(answer) if item["type"] == "page")
        self.socket = websocket.create_connection(
            tab["webSocketDebuggerUrl"], timeout=60, http_no_proxy=["127.0.0.1"]
        )
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def call(self, method: str, **parameters) -> dict:
        """One command of the protocol; events that come in between are noted."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message.get("result", {})
            self._note(message)

    def _note(self, message: dict) -> None:
        method, said = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(said["exceptionDetails"])[:2000])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.faults.append(json.dumps(said["args"])[:2000])
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.faults.append(said["entry"]["text"])
        self.events.append({"method": method})

    def size(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Size of the window in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path: Path, ready: str = "true") -> None:
        """Load a file and wait until an expression of JavaScript is true."""
        self.faults, self.requests, self.events = [], [], []
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        self.wait(f"location.href !== 'about:blank' && document.readyState === 'complete' && ({ready})")

    def wait(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression of JavaScript is true.

        Raises
        ------
        TimeoutError
        """
        limit = time.monotonic() + seconds
        while not self.run(f"Boolean({expression})"):
            if time.monotonic() > limit:
                raise TimeoutError(f"{expression}: {self.faults}")
            time.sleep(0.05)

    def run(self, expression: str):
        """Value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        """A mouse event: mouseMoved, mousePressed, mouseReleased."""
        button = "left" if buttons or kind != "mouseMoved" else "none"
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1
        )

    def key(self, name: str, shift: bool = False) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, modifiers=8 if shift else 0)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """A PNG of the page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser and take its folder away."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

"""A real browser without a window: Chromium, by its own DevTools protocol over `websockets`, which Dagster brings.

Selenium and playwright would each bring a driver of their own; needed here are a page and what a script in it gives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # Chromium's own needs more than root in a container has
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--ignore-certificate-errors",  # the authority of the server under test is known to no browser
    "--remote-debugging-port=0",
)
START_S = 60


class Browser:
    """One tab. Every call waits for its answer."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        self._connection.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._connection.recv(timeout=START_S))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str) -> None:
        """Go to a page and wait until all of it is there."""
        self.call("Page.navigate", url=url)
        before = url.partition("://")[2].partition("@")[2] or url.partition("://")[2]
        for _ in range(600):
            place, state = self.run("[location.href, document.readyState]")
            if state == "complete" and before.partition("/")[0] in place:
                return
            time.sleep(0.05)
        pytest.fail(f"the browser did not open {before}")

    def run_in(self, target: str, script: str) -> Any:
        """The same in a frame of another site, which is a target of its own."""
        mine, self._session = self._session, ""
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            return self.run(script)
        finally:
            self._session = mine

    def run(self, script: str) -> Any:
        """What a script gives in the page; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")


@contextmanager
def browser_open() -> Iterator[Browser]:
    """A browser that knows nothing yet. Without Chromium: a failure in CI, a skip at home."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        say = pytest.fail if os.environ.get("CI") in ("1", "true") else pytest.skip
        say("there is no Chromium here (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="egoworld-browser-", ignore_cleanup_errors=True) as folder:
        command = [program, *SWITCHES, f"--user-data-dir={folder}", "about:blank"]
        log = Path(folder, "chromium.log")
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "HOME": folder})
        try:
            with connect(address(Path(folder), process, log), max_size=None) as connection:
                yield Browser(connection)
        finally:
            process.terminate()
            process.wait(30)


def address(folder: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the DevTools of a browser listen, once they do."""
    end, file = time.monotonic() + START_S, folder / "DevToolsActivePort"
    while not (file.is_file() and file.read_text().count("\n") >= 1):
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the browser does not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    port, path = file.read_text().splitlines()[:2]
    return f"ws://127.0.0.1:{port}{path}"

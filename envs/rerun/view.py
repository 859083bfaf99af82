"""Serve a recording in Rerun's web viewer, on this machine only: ``python -I view.py recording.rrd --port 9090``.

Rerun's own command line listens on all interfaces by default and reports how it is used; here it is bound to the
loopback address, its reports are off, and it ends with this process.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import rerun_cli

LOOPBACK = "127.0.0.1"


PROGRAM = Path(rerun_cli.__file__).with_name("rerun")
"""Rerun's binary itself, not its Python wrapper, which would leave the server running when it is ended."""


def command(recording: Path, port: int, data_port: int) -> list[str]:
    """The server's command line. port: of the web viewer; data_port: from which the viewer reads the recording."""
    ports = ["--web-viewer-port", str(port), "--port", str(data_port)]
    return [str(PROGRAM), "--serve-web", "--bind", LOOPBACK, *ports, "--hide-welcome-screen", str(recording)]


def quiet_home(folder: str) -> dict[str, str]:
    """The environment for Rerun with a home of its own in which usage reports are switched off."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment = {**kept, "HOME": folder, "RUST_LOG": "warn"}
    subprocess.run([str(PROGRAM), "analytics", "disable"], env=environment, check=True, capture_output=True)
    return environment


def serve(recording: Path, port: int, data_port: int) -> int:
    """Run until the server ends, or this process is asked to end; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="egoworld-view-") as home:
        server = subprocess.Popen(command(recording, port, data_port), env=quiet_home(home))

        def end(_signal: int, _frame: FrameType | None) -> None:
            server.terminate()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        source = quote(f"rerun+http://{LOOPBACK}:{data_port}/proxy", safe="")
        print(f"http://{LOOPBACK}:{port}/?url={source}  (Ctrl-C ends it)", flush=True)
        status = server.wait()
    return 0 if status in (0, -signal.SIGTERM, -signal.SIGINT) else status


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Serve a recording in Rerun's web viewer on the loopback address.")
    parser.add_argument("recording", type=Path, help="a file .rrd")
    parser.add_argument("--port", type=int, default=9090, help="of the web viewer")
    parser.add_argument("--data-port", type=int, help="of the recording's data; the viewer's port + 786 by default")
    options = parser.parse_args(arguments)
    if not options.recording.is_file():
        print(f"error: {options.recording} does not exist; make the previews of this video first", file=sys.stderr)
        return 2
    return serve(options.recording, options.port, options.data_port or options.port + 786)


if __name__ == "__main__":
    sys.exit(main())

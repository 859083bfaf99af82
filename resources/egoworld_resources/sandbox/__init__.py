"""Programs run apart from everything else: code of workflows, model runners, builds. By bubblewrap.

``capabilities()`` returns what this machine allows and why the rest is missing; ``run(command, walls=...)`` runs a
program with all of it; ``run_code(...)`` runs code in an env.

What holds where everything is allowed: a program sees the system's programs and what is named, read-only but for the
folders that are named writable, and no other file, process, host name or network. It is a user that nobody else is,
without capabilities and without a way to get some. Its memory, processes, files and time are bounded for all of its
processes together, its output is read to the end and kept to a limit. All of it dies with its time, with its first
process, and with the service.
"""

from egoworld_resources.sandbox.capability import capabilities
from egoworld_resources.sandbox.code import run_code
from egoworld_resources.sandbox.draining import Cancel
from egoworld_resources.sandbox.means import Capabilities
from egoworld_resources.sandbox.outcome import Bounds, Outcome, SandboxFailed
from egoworld_resources.sandbox.running import run
from egoworld_resources.sandbox.walls import Walls, same

__all__ = [
    "Bounds",
    "Cancel",
    "Capabilities",
    "Outcome",
    "SandboxFailed",
    "Walls",
    "capabilities",
    "run",
    "run_code",
    "same",
]

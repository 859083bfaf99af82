"""Code of a workflow, run in its env and apart from everything else: namespaces, control groups, limits.

``capabilities()`` says what this machine allows and why not the rest; ``run_code(...)`` runs with all of it.

What holds where everything is allowed: the code sees the system's programs, its env and the interpreter that the env
was made from, all read-only, and no other file, process, host name or network. It is a user that nobody else is,
without capabilities and without a way to get some. Its memory, processes, files and time are bounded for all of its
processes together, its output is read to the end and kept to a limit. All of it dies with its time, with its first
process, and with the service.
"""

from egoworld_resources.environments.fabric.sandbox.capability import Capabilities, capabilities
from egoworld_resources.environments.fabric.sandbox.draining import Cancel
from egoworld_resources.environments.fabric.sandbox.outcome import Bounds, Outcome, SandboxFailed
from egoworld_resources.environments.fabric.sandbox.running import run_code

__all__ = ["Bounds", "Cancel", "Capabilities", "Outcome", "SandboxFailed", "capabilities", "run_code"]

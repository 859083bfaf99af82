"""Run every check, each in its own thread and bounded in time; what goes wrong in one is that one's fault."""

from __future__ import annotations

import importlib
import pkgutil
import threading
import time
from collections.abc import Mapping

from egoworld_resources.doctor import checks
from egoworld_resources.doctor.finding import CHECKS, Check, Finding, Subject, fault

LONGER = "egoworld doctor --seconds 3600"


def all_checks() -> dict[str, Check]:
    """Every check of the modules of ``checks``, by title: a new module is found by looking."""
    for module in sorted(found.name for found in pkgutil.iter_modules(checks.__path__)):
        importlib.import_module(f"{checks.__name__}.{module}")
    return dict(CHECKS)


def examine(subject: Subject, chosen: Mapping[str, Check] | None = None) -> dict[str, list[Finding]]:
    """The findings of every check, by its title; takes little more than ``subject.seconds`` even when checks hang."""
    running = [_Running(title, check, subject) for title, check in (chosen or all_checks()).items()]
    deadline = time.monotonic() + subject.seconds
    return {one.title: one.findings(deadline) for one in running}


class _Running:
    """One check at work. Its thread is a daemon: a check that never comes back holds up neither us nor our exit."""

    def __init__(self, title: str, check: Check, subject: Subject) -> None:
        self.title = title
        self._check = check
        self._subject = subject
        self._found: list[Finding] = []
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name=title, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = None
            fix = "let this user have more processes: ulimit -u 4096, or end some"
            self._found.append(fault(title, f"could not begin: {error}", fix))

    def _run(self) -> None:
        try:
            for finding in self._check(self._subject):
                self._found.append(finding)
        except Exception as error:  # noqa: BLE001 whatever it is, it is said as a fault and the other checks go on
            fix = "fix what the message names; if it names nothing, report it with the output of: egoworld doctor"
            self._found.append(fault(self.title, f"the check ended with {type(error).__name__}: {error}", fix))
        if not self._found:
            self._found.append(fault(self.title, "the check came to no finding", "report it: this is a defect of ours"))

    def findings(self, deadline: float) -> list[Finding]:
        """What was found until ``deadline`` (monotonic seconds)."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                found = list(self._found)
                said = f"{'not finished' if found else 'no answer'} within {self._subject.seconds:g} s"
                fix = f"see whether a disk or driver hangs (dmesg, mount), or wait longer: {LONGER}"
                return [*found, fault(self.title, said, fix)]
        return self._found

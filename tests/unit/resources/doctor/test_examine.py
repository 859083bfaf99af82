"""Checks are kept apart: one that fails, hangs or says nothing is its own fault. Asking a program takes its time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from egoworld_resources.doctor import Finding, Subject, examine, worst
from egoworld_resources.doctor.examine import all_checks
from egoworld_resources.doctor.finding import check, fault, not_needed, ok, warning
from egoworld_resources.doctor.subprocess_with_timeout import ask
from egoworld_resources.sandbox.cgroups import Grant, granted
from made_doctor import subject


def good(_subject: Subject) -> Iterator[Finding]:
    yield ok("it", "is there")


def broken(_subject: Subject) -> Iterator[Finding]:
    raise OSError("the disk is on fire")
    yield ok("it", "never comes here")


def hanging(_subject: Subject) -> Iterator[Finding]:
    threading.Event().wait()
    yield ok("it", "never comes here")


def hanging_later(_subject: Subject) -> Iterator[Finding]:
    yield ok("first", "is there")
    threading.Event().wait()


def silent(_subject: Subject) -> Iterator[Finding]:
    yield from ()


def test_a_check_that_fails_hangs_or_says_nothing_is_its_own_fault(tmp_path: Path) -> None:
    checks = {"broken": broken, "hanging": hanging, "silent": silent, "good": good}
    found = examine(subject(tmp_path, seconds=0.5), checks)
    assert list(found) == list(checks)
    assert [finding.state for several in found.values() for finding in several] == ["fault", "fault", "fault", "ok"]
    assert found["broken"][0].found == "the check ended with OSError: the disk is on fire"
    assert found["hanging"][0].found == "no answer within 0.5 s"
    assert "no finding" in found["silent"][0].found
    assert all(finding.fix for several in found.values() for finding in several if finding.state == "fault")


def test_what_a_check_found_before_it_hung_or_failed_is_kept(tmp_path: Path) -> None:
    def failing_later(_subject: Subject) -> Iterator[Finding]:
        yield ok("first", "is there")
        raise OSError("the disk is on fire")

    found = examine(subject(tmp_path, seconds=0.5), {"hangs": hanging_later, "fails": failing_later})
    assert [finding.found for finding in found["hangs"]] == ["is there", "not finished within 0.5 s"]
    assert [finding.state for finding in found["fails"]] == ["ok", "fault"]


def test_a_warning_and_a_fault_have_a_mend_and_nothing_else_does() -> None:
    with pytest.raises(ValueError, match="has a fix"):
        fault("it", "is broken", "")
    with pytest.raises(ValueError, match="has a fix"):
        Finding("it", "not needed", "no", "do this")


def test_the_gravest_state_counts() -> None:
    assert worst([]) == "ok"
    assert worst([not_needed("a", "b"), ok("a", "b")]) == "not needed"
    assert worst([fault("a", "b", "c"), warning("a", "b", "c"), ok("a", "b")]) == "fault"


def test_every_module_of_checks_is_found_and_no_title_is_taken_twice() -> None:
    titles = set(all_checks())
    assert {"stages", "disk", "envs", "locking", "NVIDIA driver", "sandbox", "memory", "video", "weights"} <= titles
    with pytest.raises(ValueError, match="two checks are called 'video'"):
        check("video")(good)


def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    result = ask(["sh", "-c", f"sleep 600 & echo $! > {mark}; wait"], 1.0)
    assert result.status is None
    assert "did not answer" in result.ending
    assert is_gone(int(mark.read_text()))


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as gone."""
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.wait(timeout=60) is None
    except psutil.NoSuchProcess:
        return True


def test_a_program_is_heard() -> None:
    result = ask([sys.executable, "-c", "import sys; print('out'); sys.exit('two\\nlines')"], 60.0)
    assert (result.status, result.out, result.ending) == (1, "out\n", "ended with status 1: two lines")


def test_the_tightest_limit_of_a_control_group_counts(tmp_path: Path) -> None:
    assert granted("pids", "pids.max", "pids.max", "pids.current", "pids.current", root=tmp_path) is None
    for folder in (tmp_path, tmp_path / "pids"):  # version 2, version 1: this machine may have either
        folder.mkdir(exist_ok=True)
        (folder / "pids.max").write_text("100\n")
        (folder / "pids.current").write_text("60\n")
    names = ("pids.max", "pids.max", "pids.current", "pids.current")
    assert granted("pids", *names, root=tmp_path) == Grant(100, 60)
    assert granted("pids", *names, root=tmp_path, below=50) is None
    for folder in (tmp_path, tmp_path / "pids"):
        (folder / "pids.max").write_text("max\n")
    assert granted("pids", *names, root=tmp_path) is None


def test_the_whole_examination_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "cache").mkdir()
    examined = subject(tmp_path)
    found = examine(examined)
    assert set(found) == set(all_checks())
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "cache", tmp_path / "home"]

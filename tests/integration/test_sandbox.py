"""Code in an env: how it runs, and how it and all that it starts ends. On every machine of tests/machines.py."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from egoworld_resources.sandbox import Bounds, SandboxFailed, run_code
from tests.machines import machine_named, none_left
from tests.made_code import Machine, env_of, run_here

BOUNDS = Bounds(timeout_s=60, memory_bytes=256 << 20, output_bytes=100_000, processes=24, disk_bytes=16 << 20)
KILLED = 128 + signal.SIGKILL


def test_what_it_says_and_how_it_ends(machine: Machine) -> None:
    outcome = machine.run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)", BOUNDS)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (7, "out\n", "err\n")
    assert (outcome.truncated, outcome.timed_out, outcome.killed_for) == (False, False, "")
    assert outcome.isolation == tuple(machine.means)


def test_an_exception_names_its_line(machine: Machine) -> None:
    outcome = machine.run("x = 0\nprint(1 / x)", BOUNDS)
    assert outcome.exit_code == 1
    assert 'main.py", line 2' in outcome.stderr
    assert "    print(1 / x)\n" in outcome.stderr
    assert outcome.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_signal_is_reported_as_a_shell_tells_it(machine: Machine) -> None:
    outcome = machine.run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", BOUNDS)
    assert (outcome.exit_code, outcome.killed_for) == (128 + signal.SIGSEGV, "")


def test_code_of_any_size_and_script(machine: Machine) -> None:
    outcome = machine.run(f"text = 'é漢🤖{'x' * 5_000_000}'\nprint(text[:3], len(text))", BOUNDS)
    assert (outcome.exit_code, outcome.stdout) == (0, "é漢🤖 5000003\n")


def test_text_that_is_no_text(machine: Machine) -> None:
    assert "SyntaxError" in machine.run("print('\ud800')", BOUNDS).stderr
    assert machine.run(r"import sys; sys.stdout.buffer.write(b'a\xff')", BOUNDS).stdout == "a\ufffd"


def test_stdin_is_empty_and_the_working_directory_its_own(machine: Machine) -> None:
    code = "import os, sys; print(sys.stdin.read() == '', os.access('.', os.W_OK)); open('file', 'w').write('x')"
    before = set((machine.folder / "scratch").iterdir())
    outcome = machine.run(code, BOUNDS)
    assert (outcome.exit_code, outcome.stdout) == (0, "True True\n"), outcome.stderr
    assert set((machine.folder / "scratch").iterdir()) == before


def test_libraries_that_use_processes_threads_and_localhost_work(machine: Machine) -> None:
    code = """
import multiprocessing, socket, subprocess, sys, threading
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(abs, [-1, -2]))
    print(subprocess.run([sys.executable, "-c", "print(3)"], capture_output=True, text=True).stdout)
    thread = threading.Thread(target=print, args=(4,)); thread.start(); thread.join()
    try:
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()).close()
        print("localhost")
    except PermissionError:
        print("none")
"""
    outcome = machine.run(code, BOUNDS)
    sockets = "localhost" if "network" in machine.means else "none"
    assert outcome.stdout.split() == ["[1,", "2]", "3", "4", sockets], outcome.stderr


def test_time(machine: Machine) -> None:
    outcome = machine.run("print('before', flush=True)\nwhile True: pass", replace(BOUNDS, timeout_s=1))
    assert (outcome.exit_code, outcome.timed_out, outcome.killed_for) == (KILLED, True, "timeout")
    assert outcome.stdout == "before\n"
    assert none_left(machine)


LEAVES_A_SESSION = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
print("left", flush=True)
"""


@pytest.mark.parametrize("end", ["time.sleep(600)", ""], ids=["by its time", "by itself"])
def test_a_child_that_left_its_session_ends_with_it(machine: Machine, end: str) -> None:
    outcome = machine.run(LEAVES_A_SESSION + end, replace(BOUNDS, timeout_s=2 if end else 60))
    assert outcome.stdout == "left\n", outcome.stderr
    assert outcome.timed_out == bool(end)
    assert none_left(machine)


def test_a_run_that_is_cancelled_ends_at_once_with_all_that_it_started(machine: Machine) -> None:
    if machine.command:
        pytest.skip("an event of this process is not seen by another one")
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        code = LEAVES_A_SESSION + "time.sleep(600)"
        ran = pool.submit(run_here, machine.folder, code, replace(BOUNDS, timeout_s=600), machine.means, cancel=cancel)
        assert len(settled(machine)) == 3
        cancel.set()
        outcome = ran.result()
    assert (outcome.exit_code, outcome.killed_for, outcome.timed_out) == (KILLED, "cancelled", False)
    assert outcome.stdout == "left\n"
    assert none_left(machine)


def test_processes_and_threads_are_counted(machine: Machine) -> None:
    code = """
import os, time
made = 0
try:
    while made < 200:
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except BlockingIOError:
    pass
print(made)
"""
    outcome = machine.run(code, BOUNDS)
    counted_alone = {"uid", "user"} & set(machine.means)
    others_that_end_meanwhile = 0 if counted_alone else 4
    assert 10 <= int(outcome.stdout) < BOUNDS.processes + others_that_end_meanwhile, outcome.stderr
    assert none_left(machine)


def test_a_fork_bomb(machine: Machine) -> None:
    code = """
import os
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
"""
    outcome = machine.run(code, replace(BOUNDS, timeout_s=2))
    assert outcome.killed_for == "timeout"
    assert none_left(machine)


def test_a_flood_of_output_is_read_to_its_end_and_not_kept(machine: Machine) -> None:
    code = """
import sys
block = b"x" * (1 << 20)
for _ in range(2048):
    sys.stdout.buffer.write(block)
sys.stderr.write("e" * 200_000)
"""
    if not {"memory group", "pid"} & set(machine.means):
        pytest.skip("output is read in the same way there, and it takes seconds")
    if machine.command:
        answer = machine.ask(machine.request(code, BOUNDS))
        assert answer["peak_bytes"] < 100 << 20
        outcome = answer["outcome"]
    else:
        outcome = vars(machine.run(code, BOUNDS))
    assert outcome["exit_code"] == 0
    assert outcome["truncated"]
    assert outcome["stdout"] == "x" * BOUNDS.output_bytes
    assert outcome["stderr"] == "e" * BOUNDS.output_bytes


def test_kill_9_of_the_service(machine: Machine) -> None:
    command = machine.command or [sys.executable, str(Path(__file__).parents[1] / "made_code.py"), ""]
    service = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert service.stdin is not None
        with service.stdin:
            service.stdin.write(machine.request(LEAVES_A_SESSION + "time.sleep(600)", replace(BOUNDS, timeout_s=600)))
        while len(machine.processes()) < 3 and service.poll() is None:
            time.sleep(0.01)
    finally:
        service.kill()
        assert service.stdout is not None
        with service.stdout:
            output = service.stdout.read()
        service.wait()
    assert output == b""
    assert none_left(machine)


def test_an_interpreter_that_does_not_start(machine: Machine) -> None:
    if machine.command:
        pytest.skip("the same code in another process")
    with tempfile.TemporaryDirectory(dir=machine.folder) as scratch, pytest.raises(SandboxFailed, match="bin/nothing"):
        run_code(
            env_of(machine.folder) / "bin/nothing",
            "",
            env_folder=env_of(machine.folder),
            scratch=Path(scratch),
            bounds=BOUNDS,
            means=None,
        )


def test_an_env_that_is_closed_to_others_is_reported(code_folder: Path) -> None:
    machine = machine_named("whole", code_folder)
    if "uid" not in machine.means:
        pytest.skip("only a run as another user is kept out of a folder of ours")
    env = env_of(code_folder)
    env.chmod(0o700)
    try:
        with pytest.raises(SandboxFailed, match="readable by every user"):
            machine.run("", BOUNDS)
    finally:
        env.chmod(0o755)


def test_means_that_are_not_there_are_not_done_without(code_folder: Path) -> None:
    bare = machine_named("bare", code_folder)
    changed = {**json.loads(bare.request("print('ran')", BOUNDS)), "means": [*bare.means, "network"]}
    done = subprocess.run(bare.command, input=json.dumps(changed).encode(), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"SandboxFailed" in done.stderr
    assert b"unshare of the network namespace" in done.stderr
    assert b"ran" not in done.stdout


def test_a_machine_without_namespaces_says_what_it_lacks(code_folder: Path) -> None:
    bare = machine_named("bare", code_folder)
    assert set(bare.means) <= {"seccomp"}
    assert {"user", "pid", "mount", "network"} <= set(bare.missing)
    assert "unshare of the user namespace" in bare.missing["user"]


def test_nothing_is_left_of_a_run() -> None:
    groups = [*Path("/sys/fs/cgroup").glob("**/egoworld-sandbox-*")]
    alive = {entry.name for entry in Path("/proc").iterdir()}
    assert [group for group in groups if group.name.rpartition("-")[2] not in alive] == []


def test_runs_at_once_do_not_meet(code_folder: Path) -> None:
    machine = machine_named("whole", code_folder)
    code = "import os, time; open('own', 'x').write('{0}'); time.sleep(0.2); print(open('own').read(), os.listdir())"
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda number: machine.run(code.format(number), BOUNDS), range(8)))
    assert [outcome.stdout for outcome in outcomes] == [f"{number} ['own']\n" for number in range(8)]


def settled(machine: Machine) -> list[int]:
    """The processes of the code once those that only start others are gone: the same three for half a second."""
    found: list[int] = []
    until, since = time.monotonic() + 60, time.monotonic()
    while time.monotonic() < until and (len(found) != 3 or time.monotonic() - since < 0.5):
        now = sorted(machine.processes())
        found, since = now, since if now == found else time.monotonic()
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("victim", ["keeper", "init"])
def test_kill_9_of_the_launcher(code_folder: Path, victim: str) -> None:
    machine = machine_named("whole", code_folder)
    if "pid" not in machine.means:
        pytest.skip("without a PID namespace nobody is left to end what left its session; capabilities() says so")
    with ThreadPoolExecutor(1) as pool:
        ran = pool.submit(machine.run, LEAVES_A_SESSION + "time.sleep(600)", BOUNDS)
        found = settled(machine)
        assert (len(found), ran.done()) == (3, False)
        program = min(found, key=lambda pid: psutil.Process(pid).create_time())
        init = psutil.Process(program).parent()
        assert init is not None
        keeper = init.parent()
        assert keeper is not None
        (keeper if victim == "keeper" else init).kill()
        if victim == "keeper":
            with pytest.raises(SandboxFailed, match="launcher was killed"):
                ran.result()
        else:
            assert ran.result().exit_code == KILLED
    assert none_left(machine)

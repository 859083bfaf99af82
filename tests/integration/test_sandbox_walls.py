"""Code in an env against what it may not reach or take. On every machine of tests/machines.py."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from egoworld_resources.leases.locks import lock, try_lock
from egoworld_resources.sandbox import Bounds, capabilities
from tests.machines import none_left
from tests.made_code import SECRET, Machine, make_folder, open_python, run_here

BOUNDS = Bounds(timeout_s=60, memory_bytes=256 << 20, output_bytes=100_000, processes=24, disk_bytes=16 << 20)
KILLED = 128 + signal.SIGKILL


def test_the_env_cannot_be_written(machine: Machine) -> None:
    if not {"mount", "uid"} & set(machine.means):
        pytest.skip("an env of the same user cannot be closed to it without mounts; capabilities() says so")
    code = f"""
import os, shutil
module = {str(machine.module)!r}
def tried(what):
    try:
        what()
    except OSError:
        return "refused"
    return "done"
def through_a_link():
    os.link(module, "link.py")
    open("link.py", "a").write("VALUE = 2")
import shared_module
print(shared_module.VALUE, *map(tried, (
    lambda: open(module, "a").write("VALUE = 2"),
    lambda: os.remove(module),
    lambda: os.chmod(module, 0o777),
    lambda: os.rename(os.path.dirname(module), module + ".old"),
    lambda: open(os.path.dirname(module) + "/new.py", "w"),
    lambda: open(os.path.dirname(os.__file__) + "/new.py", "w"),
    lambda: open("/usr/lib/new.py", "w"),
    lambda: os.mkdir("/new"),
    through_a_link,
)))
"""
    before = machine.module.read_bytes()
    outcome = machine.run(code, BOUNDS)
    assert outcome.stdout.split() == ["1"] + ["refused"] * 9, outcome.stderr
    assert machine.module.read_bytes() == before
    assert sorted(entry.name for entry in machine.module.parent.iterdir() if "pycache" not in entry.name) == [
        "shared_module.py"
    ]


def test_other_envs_and_the_rest_of_the_machine_are_out_of_sight(machine: Machine) -> None:
    if "mount" not in machine.means:
        pytest.skip("without mounts code sees the files that its user may; capabilities() says so")
    code = f"""
import os
print(os.path.exists({str(machine.secret)!r}), os.listdir({str(machine.secret.parents[1])!r}))
print(os.path.exists("/etc/shadow"), os.path.exists("/home"), os.path.exists("/var"), os.path.exists("/sys"))
print([name for name in os.listdir("/proc") if name.isdigit()], os.path.exists({str(Path(__file__))!r}))
try:
    print(os.listdir("/proc/1/root"), open("/proc/1/environ").read(), os.listdir("/proc/1/fd"))
except PermissionError:
    print("refused")
"""
    outcome = machine.run(code, BOUNDS)
    assert machine.secret.read_text() == SECRET
    assert outcome.stdout.splitlines() == [
        "False ['one']",
        "False False False False",
        "['1', '2'] False",
        "refused",
    ], outcome.stderr


def test_an_env_below_the_systems_folders_hides_its_neighbours(tmp_path: Path) -> None:
    if os.geteuid() != 0 or "mount" not in capabilities().allowed:
        pytest.skip("only root can make a folder there")
    with tempfile.TemporaryDirectory(dir="/usr/local", prefix="egoworld-") as made:
        python = open_python()
        assert python is not None
        Path(made).chmod(0o755)
        make_folder(Path(made), python)
        code = f"import os; print(os.listdir({made + '/envs'!r}))"
        outcome = run_here(Path(made), code, BOUNDS, None)
    assert outcome.stdout == "['one']\n", outcome.stderr


def test_our_environment_and_descriptors_stay_with_us(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", SECRET)
    code = """
import os, pathlib
print(sorted(os.environ))
print(sorted(os.listdir("/proc/self/fd"))[:-1] if os.path.exists("/proc/self") else "")
"""
    with (machine.folder / "secret").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)  # noqa: FBT003
        outcome = machine.run(code, BOUNDS)
    assert outcome.stdout.splitlines() == [
        "['HOME', 'LANG', 'LC_ALL', 'PATH', 'TMPDIR']",
        "['0', '1', '2']",
    ], outcome.stderr


def test_a_descriptor_that_is_passed_keeps_its_lock_until_the_code_is_gone(machine: Machine) -> None:
    path = machine.folder / "lock"
    with path.open("w") as held, path.open("r+") as other:
        lock(held.fileno())
        code = f"import os; print(os.fstat({held.fileno()}).st_ino)"
        outcome = machine.run(code, BOUNDS, [held.fileno()])
        assert outcome.stdout == f"{path.stat().st_ino}\n", outcome.stderr
        held.close()
        assert try_lock(other.fileno())


def test_no_network(machine: Machine) -> None:
    addresses = {"127.0.0.1", socket.gethostbyname(socket.gethostname())}
    servers = [socket.create_server((address, 0)) for address in addresses]
    try:
        code = f"""
import socket
for address in {[server.getsockname() for server in servers]!r}:
    try:
        socket.create_connection(address)
        print("connected")
    except OSError as error:
        print("refused")
try:
    socket.socket(40, socket.SOCK_STREAM)  # AF_VSOCK: to the host of a virtual machine
    print("made")
except OSError:
    print("refused")
"""
        outcome = machine.run(code, BOUNDS)
    finally:
        for server in servers:
            server.close()
    assert outcome.stdout.split() == ["refused"] * (len(servers) + 1), outcome.stderr


def test_no_rights_and_no_way_to_some(machine: Machine) -> None:
    code = """
import ctypes, os
fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(*(int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")), fields["NoNewPrivs"].strip())
print(os.getuid() == 0, os.getgroups())
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x10000000), libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), libc.ptrace(0, 0, 0, 0))
"""
    outcome = machine.run(code, BOUNDS)
    rights, user, calls = outcome.stdout.splitlines()
    assert (rights, calls) == ("0 0 0 0 1", "-1 -1 -1"), outcome.stderr
    assert user == "False []" if "uid" in machine.means else user.startswith("False ")


def test_no_file_with_a_set_id_bit(machine: Machine) -> None:
    code = """
import os
open("program", "w").close()
def tried(what):
    try:
        what()
    except OSError as error:
        return error.errno
    return "done"
make = os.O_CREAT | os.O_WRONLY
print(*map(tried, (
    lambda: os.chmod("program", 0o4755),
    lambda: os.fchmod(os.open("program", os.O_RDONLY), 0o2755),
    lambda: os.open("other", make, 0o6755),
    lambda: os.mkdir("folder", 0o2755),
    lambda: os.mknod("fifo", 0o4644 | 0o010000),
    lambda: os.chmod("program", 0o755),
    lambda: os.open("third", make, 0o755),
)))
"""
    outcome = machine.run(code, BOUNDS)
    assert outcome.stdout.split() == ["1"] * 5 + ["done"] * 2, outcome.stderr


def test_a_process_that_takes_memory(machine: Machine) -> None:
    code = "held = []\nwhile True: held.append(bytearray(16 << 20))"
    outcome = machine.run(code, BOUNDS)
    if "memory group" in machine.means:
        assert (outcome.exit_code, outcome.killed_for) == (KILLED, "memory")
    else:
        assert (outcome.exit_code, outcome.killed_for) == (1, "memory")
        assert "MemoryError" in outcome.stderr


def test_processes_that_take_memory_together(machine: Machine) -> None:
    code = """
import os, sys, time
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(b"x") * (60 << 20)
        time.sleep(600)
os.wait()
sys.exit(3)
"""
    outcome = machine.run(code, BOUNDS)
    assert (outcome.exit_code, outcome.killed_for) == (KILLED, "memory")
    assert none_left(machine)


def test_memory_that_nobody_has_mapped(machine: Machine) -> None:
    code = """
import os
def flood():
    while True:
        os.write(os.memfd_create("x"), bytes(8 << 20))
try:
    flood()
except OSError as error:
    print(error.errno)
"""
    outcome = machine.run(code, BOUNDS)
    if "memory group" in machine.means:
        assert outcome.killed_for == "memory"
    else:
        assert outcome.stdout == "1\n", outcome


def test_disk(machine: Machine) -> None:
    code = """
import os
total = 0
try:
    for folder in (".", os.environ["TMPDIR"], "/dev/shm"):
        with open(folder + "/large", "wb") as file:
            while total < 1 << 30:
                total += file.write(bytes(1 << 20))
except OSError as error:
    print(total, error.errno)
"""
    outcome = machine.run(code, BOUNDS)
    total, number = map(int, outcome.stdout.split())
    assert total <= BOUNDS.disk_bytes, outcome.stderr
    assert number in (27, 28)


def test_many_small_files(machine: Machine) -> None:
    if "mount" not in machine.means:
        pytest.skip("without mounts files are bounded one by one; capabilities() says so")
    code = """
try:
    for number in range(1_000_000):
        open(f"{number}", "w").close()
except OSError as error:
    print(error.errno)
"""
    assert machine.run(code, BOUNDS).stdout == "28\n"

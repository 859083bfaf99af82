"""The parts of the sandbox that need no kernel: what is shown, what is kept, where groups are made, what is said."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from egoworld_resources.sandbox import calls, groups
from egoworld_resources.sandbox.draining import Stream, drain
from egoworld_resources.sandbox.means import ISOLATION, LOST, MEMORY_GROUP, PROCESS_GROUP, Capabilities
from egoworld_resources.sandbox.trees import links, trees
from egoworld_resources.sandbox.walls import Walls, same, shown_options

NAME = f"egoworld-sandbox-1a2b-{os.getpid()}"


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """A venv of an interpreter that is reached over a link to its version, as uv installs them."""
    installed = tmp_path / "pythons" / "cpython-3.11.9"
    (installed / "bin").mkdir(parents=True)
    (installed / "bin" / "python3.11").touch()
    (installed / "lib" / "python3.11").mkdir(parents=True)
    (installed / "lib" / "python3.11" / "os.py").touch()
    (tmp_path / "pythons" / "cpython-3.11").symlink_to("cpython-3.11.9")
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims" / "python").symlink_to(tmp_path / "pythons/cpython-3.11/bin/python3.11")
    env = tmp_path / "envs" / "one"
    (env / "bin").mkdir(parents=True)
    (env / "bin" / "python").symlink_to(tmp_path / "shims" / "python")
    (env / "pyvenv.cfg").write_text(f"home = {tmp_path}/pythons/cpython-3.11/bin\nversion = 3.11.9\n")
    return env


def test_the_interpreter_is_shown_under_each_of_its_names(env: Path, tmp_path: Path) -> None:
    real = str(tmp_path / "pythons" / "cpython-3.11.9")
    shown = trees(env / "bin" / "python", env)
    assert shown == [(real, str(tmp_path / "pythons" / "cpython-3.11")), (real, real), (str(env), str(env))]
    assert links(env / "bin" / "python") == [
        (str(env / "bin" / "python"), str(tmp_path / "shims" / "python")),
        (str(tmp_path / "shims" / "python"), f"{tmp_path}/pythons/cpython-3.11/bin/python3.11"),
    ]


def test_a_folder_that_only_holds_a_link_is_not_shown(env: Path, tmp_path: Path) -> None:
    assert str(tmp_path) not in [target for _, target in trees(env / "bin" / "python", env)]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert len(links(tmp_path / "a")) == 41


def test_of_a_long_stream_the_beginning_is_kept() -> None:
    stream = Stream(limit=5)
    stream.take(b"abc")
    assert (stream.text, stream.truncated) == ("abc", False)
    stream.take(b"de")
    assert (stream.text, stream.truncated) == ("abcde", False)
    stream.take(b"f")
    assert (stream.text, stream.truncated) == ("abcde", True)


def test_a_character_that_the_limit_cuts_is_left_out() -> None:
    stream = Stream(limit=5)
    stream.take("漢字".encode())
    assert stream.text == "漢"
    whole = Stream(limit=9)
    whole.take("漢字".encode() + b"\xe6\xbc")
    assert whole.text == "漢字\ufffd"


def test_pipes_are_read_until_nobody_can_write() -> None:
    first, second = os.pipe(), os.pipe()
    kept = {first[0]: Stream(10), second[0]: Stream(10)}
    os.write(first[1], b"one")
    os.close(first[1])
    try:
        assert drain(kept, time.monotonic() + 0.05) == "timeout"
        assert drain(kept, time.monotonic() + 10, lambda: "cancelled") == "cancelled"
        os.write(second[1], b"two")
        os.close(second[1])
        assert drain(kept, time.monotonic() + 10) == ""
    finally:
        os.close(first[0])
        os.close(second[0])
    assert [stream.text for stream in kept.values()] == ["one", "two"]


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Files as cgroup2 shows them to a service of systemd with Delegate=yes that is alone in its own group."""
    for folder, passed_on in (("", "cpu memory pids"), ("service", "memory pids"), ("service/main", "")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cgroup.subtree_control").write_text(f"{passed_on}\n")
    (tmp_path / "own").write_text("0::/service/main\n")
    return tmp_path


def test_a_group_of_version_2_is_made_where_controllers_are_passed_on(mounted: Path) -> None:
    bounds = {MEMORY_GROUP: 1 << 20, PROCESS_GROUP: 8}
    files = {"mounted": str(mounted), "own": str(mounted / "own")}
    made = [groups.make(means, bounds[means], NAME, **files) for means in groups.CONTROLLERS]
    folder = mounted / "service" / NAME
    assert [group.folder for group in made] == [str(folder)] * 2
    written = {file.name: file.read_text() for file in folder.iterdir()}
    limits = {"memory.max": "1048576", "memory.oom.group": "1", "memory.swap.max": "0", "pids.max": "10"}
    assert written == limits


def test_a_group_of_version_1_is_made_below_our_own(tmp_path: Path) -> None:
    (tmp_path / "memory" / "ours").mkdir(parents=True)
    (tmp_path / "own").write_text("4:memory:/ours\n0::/\n")
    bound = 1 << 30
    group = groups.make(MEMORY_GROUP, bound, NAME, mounted=str(tmp_path), own=str(tmp_path / "own"))
    folder = tmp_path / "memory" / "ours" / NAME
    assert (group.folder, (folder / "memory.limit_in_bytes").read_text()) == (str(folder), str(bound))
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    for used, kills in ((bound - 4096, 2), (bound // 2, 0)):
        (folder / "memory.max_usage_in_bytes").write_text(f"{used}\n")
        assert group.out_of_memory() == kills


@pytest.mark.parametrize(("oom", "kills"), [(1, 3), (0, 0)], ids=["its own limit", "a limit around it"])
def test_which_limit_a_kill_was_for(tmp_path: Path, oom: int, kills: int) -> None:
    (tmp_path / "memory.events").write_text(f"low 0\nhigh 0\nmax 4\noom {oom}\noom_kill 3\noom_group_kill 0\n")
    assert groups.Group(str(tmp_path)).out_of_memory() == kills


def test_no_group_without_its_controller(mounted: Path) -> None:
    (mounted / "service" / "cgroup.subtree_control").write_text("memory\n")
    with pytest.raises(OSError, match="no control group of pids"):
        groups.make(PROCESS_GROUP, 8, NAME, mounted=str(mounted), own=str(mounted / "own"))


def test_groups_of_services_that_died_are_swept(tmp_path: Path) -> None:
    kept = [NAME, groups.new_name(), "egoworld-sandbox-x.service", "other-0"]
    for name in (*kept, "egoworld-sandbox-1a2b-0"):
        (tmp_path / name).mkdir()
    groups.sweep(str(tmp_path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(kept)


def test_a_machine_says_what_it_lacks_and_why() -> None:
    whole = Capabilities(("user", "pid", "network"), {"memory group": "Permission denied"})
    less = whole.without("network", "mount")
    assert less.allowed == ("user", "pid")
    assert less.sentences() == [
        "code runs apart by: user, pid",
        f"no memory group (Permission denied): {LOST['memory group']}",
        f"no network (not to be used): {LOST['network']}",
    ]
    assert Capabilities((), {}).sentences() == ["code runs apart by: nothing but limits of a process"]


def test_every_means_says_what_is_lost_without_it() -> None:
    assert set(LOST) == set(ISOLATION)


def test_the_filter_is_whole_and_small_enough() -> None:
    most_instructions = 4096
    for network in (True, False):
        for counted in (True, False):
            program = calls.program(network=network, counted=counted)
            assert len(program) % 8 == 0
            assert len(program) // 8 < most_instructions
    uncounted = calls.program(network=True, counted=False)
    assert len(uncounted) - len(calls.program(network=True, counted=True)) == 16 * len(calls.UNCOUNTED_MEMORY)


def test_what_is_shown_once_is_not_shown_again(tmp_path: Path) -> None:
    outer, inner = str(tmp_path), str(tmp_path / "inner")
    options = list(shown_options(Walls(read_only=same(inner, outer, "/usr/lib/python3"), writable=[inner])))
    binds = [tuple(options[at : at + 3]) for at, word in enumerate(options) if word in ("--bind", "--ro-bind")]
    assert binds == [("--ro-bind", outer, outer), ("--bind", inner, inner)]


def test_neighbours_below_the_systems_folders_are_covered() -> None:
    walls = Walls(read_only=same("/usr/local/egoworld/envs/one"), hidden=["/usr/local/egoworld", "/opt/other"])
    options = list(shown_options(walls))
    assert options[:2] == ["--tmpfs", "/usr/local/egoworld"]
    assert options[-2:] == ["--remount-ro", "/usr/local/egoworld"]
    assert "/opt/other" not in options

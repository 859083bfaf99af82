"""A runner that means harm: each clip of a video tries something else, in the order of ``ATTACKS``."""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests.made_up import add_env

PARAMS = {"secret": "", "home": "", "project": "", "socket": "", "port": 0}
RUNNER = '''
"""Tries one thing a clip, chosen by its number."""

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import egoworld_runner.execute as contract
from egoworld_runner import Runner
from egoworld_runner.tables import Int, Row, dataclass


@dataclass(frozen=True)
class Seen(Row):
    table = "attacks"
    frame: Int


def honest(clip, secret, params):
    (clip.folder / "kept.txt").write_text("kept")


def a_link_to_a_secret(clip, secret, params):
    (clip.folder / "link.txt").symlink_to(secret)


def a_folder_that_is_a_link(clip, secret, params):
    (clip.folder / "folder").symlink_to(secret.parent)


def a_table_that_is_a_link(clip, secret, params):
    (clip.folder / "extra.parquet").symlink_to(secret)


def a_hardlink(clip, secret, params):
    try:
        os.link(secret, clip.folder / "hard.txt")
    except OSError:
        (clip.folder.parent / "aside").write_text("written later")
        os.link(clip.folder.parent / "aside", clip.folder / "hard.txt")


def a_fifo(clip, secret, params):
    os.mkfifo(clip.folder / "fifo")


def a_device(clip, secret, params):
    os.mknod(clip.folder / "device", 0o666 | stat.S_IFCHR, os.makedev(1, 5))


def a_socket(clip, secret, params):
    os.chdir(clip.folder)
    socket.socket(socket.AF_UNIX).bind("socket")


def a_set_id_program(clip, secret, params):
    program = clip.folder / "program"
    program.write_text("#!/bin/sh")
    program.chmod(0o6755)


def a_name_with_a_line_break(clip, secret, params):
    (clip.folder / "two\\nlines").write_text("x")


def a_name_with_a_dot_first(clip, secret, params):
    (clip.folder / "..hidden").write_text("x")


def a_name_that_is_too_long(clip, secret, params):
    (clip.folder / ("x" * 200)).write_text("x")


def folders_too_deep(clip, secret, params):
    deep = clip.folder.joinpath(*["deep"] * 30)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")


def our_own_manifest(clip, secret, params):
    (clip.folder / "manifest.json").write_text("{}")


def a_hole(clip, secret, params):
    with open(clip.folder / "hole", "wb") as file:
        file.truncate(1 << 42)


def a_file_nobody_may_read(clip, secret, params):
    (clip.folder / "closed").write_text("x")
    os.mkdir(clip.folder / "shut", 0o000)


def rows_of_another_clip(clip, secret, params):
    finish = contract._finish

    def other(folder, *rest):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(folder / "attacks.parquet")
        ids = pa.array(["00000000-0000-0000-0000-000000000000"] * table.num_rows)
        pq.write_table(table.set_column(0, table.schema.field(0), ids), folder / "attacks.parquet")
        return finish(folder, *rest)

    with_finish(other)


def a_table_of_other_columns(clip, secret, params):
    rewritten("attacks.parquet", lambda path: __import__("pyarrow.parquet").parquet.write_table(
        __import__("pyarrow").table({"other": [1]}), path))


def a_table_that_is_none(clip, secret, params):
    rewritten("attacks.parquet", lambda path: path.write_bytes(b"PAR1 nothing PAR1"))


def a_report_that_is_a_link(clip, secret, params):
    rewritten("clip.json", lambda path: (path.unlink(), path.symlink_to(secret)))


def a_report_that_is_deep(clip, secret, params):
    rewritten("clip.json", lambda path: path.write_text("[" * 200_000))


def a_report_that_is_huge(clip, secret, params):
    rewritten("clip.json", lambda path: path.write_text(json.dumps({"state": "done", "reason": "x" * (8 << 20)})))


def a_report_of_other_types(clip, secret, params):
    rewritten("clip.json", lambda path: path.write_text('{"state": ["done"], "rows": 7, "notes": {"n": null}}'))


def a_report_that_no_json_holds(clip, secret, params):
    bad = '{"state": "done", "reason": "\\\\ud800\\\\u0000", "rows": {"attacks": 1e400}, "seconds": NaN}'
    rewritten("clip.json", lambda path: path.write_text(bad))


def a_flood_of_events_that_are_none(clip, secret, params):
    lines = [b"{" * (6 << 20), b"[" * 100_000, b'{"event": ["start"]}', b'{"event": "start", "video": 1, "unit": 2}']
    lines += [b'{"event": "start", "video": "../../x", "unit": "no clip"}', b'{"event": "loaded", "seconds": NaN}']
    lines += [b"\\xff\\xfe", b"null", b'{"event": "clip", "video": "x", "unit": "whole", "state": "done"}', b""]
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                for line in lines:
                    for start in range(0, len(line) + 1, 60_000):
                        os.write(int(name), line[start : start + 60_000])
                    os.write(int(name), b"\\n")
        except OSError:
            pass


def a_swap_that_goes_on(clip, secret, params):
    swapper = """
import os, sys, time
folder, secret = sys.argv[1:]
os.chdir(folder)
os.symlink(secret, "link")
end = time.monotonic() + 30
while time.monotonic() < end:
    for name in ("swapped.txt",):
        try:
            os.rename(name, "plain"); os.rename("link", name)
            os.rename(name, "link"); os.rename("plain", name)
        except OSError:
            pass
"""
    (clip.folder / "swapped.txt").write_text("plain")
    subprocess.Popen([sys.executable, "-c", swapper, str(clip.folder), str(secret)], start_new_session=True)
    time.sleep(0.3)


def a_child_left_behind(clip, secret, params):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sleep = [sys.executable, "-c", "import time; time.sleep(600)", "left-by-the-hostile-runner"]
            os.execv(sys.executable, sleep)
        os._exit(0)


def a_look_around(clip, secret, params):
    """What it reaches, as notes: "" for nothing."""
    data = secret.parents[1] / "data"
    note(clip, "the secret", lambda: Path("/" + params["secret"]).read_text())
    note(clip, "our environment", lambda: [name for name in os.environ if "TOKEN" in name or "PASSWORD" in name])
    note(clip, "home", lambda: [n for n in os.listdir("/" + params["home"]) if f"/{n}/" not in sys.base_prefix])
    note(clip, "other files", lambda: [name for name in os.listdir(secret.parents[1]) if name not in ("data", "more")])
    note(clip, "passwords", lambda: open("/etc/shadow").read())
    note(clip, "the project", lambda: os.listdir("/" + params["project"]).count("pyproject.toml") or "")
    note(clip, "processes", lambda: [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 500])
    note(clip, "a server of this machine", lambda: socket.create_connection(("127.0.0.1", params["port"]), 2))
    note(clip, "a socket in the home", lambda: [socket.socket(socket.AF_UNIX).connect("/" + params["socket"])])
    note(clip, "the video", lambda: open(clip.path, "ab").write(b"x"))
    note(clip, "an input", lambda: (inputs_of_ours["clips"] / "new").write_text("x"))
    note(clip, "the job", lambda: open(clip.folder.parents[2] / "job.json", "a").write("x"))
    note(clip, "the env", lambda: open(__file__, "a").write("x"))
    note(clip, "the system", lambda: open("/usr/bin/new", "w").write("x"))
    note(clip, "an interpreter", lambda: open(Path(os.__file__).parent / "new.py", "w").write("x"))
    note(clip, "the store", lambda: [os.makedirs(data / "store" / "new")])
    note(clip, "a host name", lambda: socket.gethostname() if socket.gethostname() != "code" else "")
    note(clip, "rights", lambda: [line for line in open("/proc/self/status")
                                  if line.startswith(("CapPrm", "CapEff")) and int(line.split()[1], 16)])
    note(clip, "root", lambda: "root" if os.getuid() == 0 else "")
    note(clip, "a new namespace", lambda: __import__("ctypes").CDLL(None).unshare(0x10000000) == 0 or "")
    note(clip, "looking into processes", lambda: __import__("ctypes").CDLL(None).ptrace(0, 0, 0, 0) == 0 or "")


def note(clip, name, what):
    try:
        clip.note(name, str(what() or ""))
    except OSError as error:
        clip.note(name, "")


inputs_of_ours = {}


def with_finish(other):
    kept = contract._finish

    def once(folder, *rest):
        contract._finish = kept
        return other(folder, *rest)

    contract._finish = once


def rewritten(name, change):
    """Change a file of the clip once the contract has written it."""
    kept = contract._finish

    def other(folder, final, *rest):
        state = kept(folder, final, *rest)
        path = final / name
        change(path)
        return state

    with_finish(other)


ATTACKS = [NAMES]


class Attacks(Runner):
    writes = (Seen,)

    def run(self, clip, inputs, params):
        inputs_of_ours["clips"] = inputs.artifacts["clips"]
        yield Seen(clip.start_frame)
        ATTACKS[clip.start_frame // 5](clip, Path("/" + params["secret"]), params)
'''

ATTACKS = (
    "honest",
    "a_link_to_a_secret",
    "a_folder_that_is_a_link",
    "a_table_that_is_a_link",
    "a_hardlink",
    "a_fifo",
    "a_device",
    "a_socket",
    "a_set_id_program",
    "a_name_with_a_line_break",
    "a_name_with_a_dot_first",
    "a_name_that_is_too_long",
    "folders_too_deep",
    "our_own_manifest",
    "a_hole",
    "rows_of_another_clip",
    "a_table_of_other_columns",
    "a_table_that_is_none",
    "a_report_that_is_a_link",
    "a_report_that_is_deep",
    "a_report_that_is_huge",
    "a_report_of_other_types",
    "a_report_that_no_json_holds",
    "a_flood_of_events_that_are_none",
    "a_swap_that_goes_on",
    "a_child_left_behind",
    "a_look_around",
)
FRAMES = 5
"""Of each clip."""
RATE = 10
"""Frames a second of the video."""
STAGE = Stage("attacks", env="hostile", inputs=("videos", "clips"))


def hostile_bench(folder: Path, secret: Path, **places: str | int) -> Workbench:
    """A workbench whose stage ``attacks`` is served by the hostile runner; places: where it looks, by parameter.

    Paths are given without their first slash: a file that a parameter names is one that the runner may read.
    """
    source = RUNNER.replace("NAMES", ", ".join(ATTACKS))
    env = add_env(folder / "more" / "envs", "hostile", "Attacks", source, PARAMS)
    given = {name: place.removeprefix("/") if isinstance(place, str) else place for name, place in places.items()}
    attacks = {"secret": str(secret).removeprefix("/"), **given}
    params = {"attacks": attacks, "clips": {"max_clip_s": FRAMES / RATE}}
    return Workbench(Settings.load(home=folder / "data", extra_envs=(env.parent,), params=params))

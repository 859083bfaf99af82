"""Machines on which code is run in a made-up env: this one as it is, as an ordinary user, and with less than that.

``python made_code.py RESOURCES [bare]`` is how another user runs code: it reads a request as JSON and answers in JSON.
bare: on a kernel that grants no namespace at all. It is one: a user namespace that may hold no other is entered first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egoworld_resources.sandbox import Bounds, Cancel, Outcome

ORDINARY = 20_000 + os.getpid() % 40_000
"""A user id that is nobody's here, one for each process of tests: the kernel counts processes by user, and those
of another worker would begin and end in the middle of a count."""
NO_MORE = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --inh-caps=-all --ambient-caps=-all "$@"'
SECRET = "the key of another workflow"


def env_of(folder: Path) -> Path:
    return folder / "envs" / "one" / "generation"


def run_here(
    folder: Path,
    code: str,
    bounds: Bounds,
    means: Sequence[str] | None,
    pass_fds: Sequence[int] = (),
    cancel: Cancel | None = None,
) -> Outcome:
    """Run code in the env of ``folder`` by this process; means: names, or None for all that are allowed."""
    from egoworld_resources.sandbox import Capabilities, run_code

    env = env_of(folder)
    with tempfile.TemporaryDirectory(dir=folder / "scratch") as scratch:
        return run_code(
            env / "bin/python",
            code,
            env_folder=env,
            scratch=Path(scratch),
            bounds=bounds,
            pass_fds=pass_fds,
            means=None if means is None else Capabilities(tuple(means), {}),
            cancel=cancel,
        )


@dataclass(frozen=True)
class Machine:
    """Where code is run. means: by which it is kept apart; missing: the others and why; command: none: this process."""

    folder: Path
    means: Sequence[str]
    missing: Mapping[str, str]
    command: Sequence[str] = ()

    @property
    def secret(self) -> Path:
        """A file of another env that everybody may read."""
        return self.folder / "envs" / "two" / "secret.txt"

    @property
    def module(self) -> Path:
        """A module in the env's site-packages, one file with the same module of another env."""
        return next(env_of(self.folder).glob("lib/python3*/site-packages")) / "shared_module.py"

    def run(self, code: str, bounds: Bounds, pass_fds: Sequence[int] = ()) -> Outcome:
        """Run code with these means."""
        from egoworld_resources.sandbox import Outcome

        if not self.command:
            return run_here(self.folder, code, bounds, self.means, pass_fds)
        answer = self.ask(self.request(code, bounds, pass_fds), pass_fds)
        return Outcome(**answer["outcome"] | {"isolation": tuple(answer["outcome"]["isolation"])})

    def ask(self, request: bytes, pass_fds: Sequence[int] = ()) -> dict[str, Any]:
        """The answer of another process to a request."""
        done = subprocess.run(self.command, input=request, stdout=subprocess.PIPE, check=True, pass_fds=pass_fds)
        return json.loads(done.stdout)

    def request(self, code: str, bounds: Bounds, pass_fds: Sequence[int] = ()) -> bytes:
        """What ``made_code.py`` reads to run code."""
        asked = {"code": code, "bounds": asdict(bounds), "means": self.means, "pass_fds": list(pass_fds)}
        return json.dumps({"folder": str(self.folder), **asked}).encode()

    def processes(self) -> list[int]:
        """Pids of all processes that run the env's interpreter."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if words[0] == os.fsencode(env_of(self.folder) / "bin/python"):
                    found.append(int(entry.name))
        return found


def open_python() -> Path | None:
    """An interpreter that every user may start, of our version at least; None when there is none."""
    for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        if python.exists() and all(folder.stat().st_mode & 0o005 == 0o005 for folder in python.resolve().parents):
            asked = [python, "-I", "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"]
            if subprocess.run(asked, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return python
    return None


def make_folder(folder: Path, python: Path) -> None:
    """An env of ``python``, another one with a secret, and a copy of the package for users who cannot read ours."""
    from egoworld_resources import sandbox
    from egoworld_runner import keeper

    env = env_of(folder)
    subprocess.run([python, "-m", "venv", "--without-pip", env], check=True)
    other = folder / "envs" / "two"
    other.mkdir()
    (other / "secret.txt").write_text(SECRET)
    (other / "shared_module.py").write_text("VALUE = 1\n")
    os.link(other / "shared_module.py", next(env.glob("lib/python3*/site-packages")) / "shared_module.py")
    ours = Path(sandbox.__file__).parent
    target = folder / "code" / "egoworld_resources"
    target.mkdir(parents=True)
    for part in ("__init__.py", "errors.py"):
        shutil.copyfile(ours.parent / part, target / part)
    shutil.copytree(ours, target / ours.name, ignore=shutil.ignore_patterns("__pycache__"))
    contract = folder / "code" / "egoworld_runner"
    contract.mkdir()
    shutil.copyfile(keeper.__file__, contract / "keeper.py")
    (contract / "__init__.py").touch()
    shutil.copyfile(__file__, folder / "made_code.py")
    (folder / "scratch").mkdir()
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    (folder / "scratch").chmod(0o777)


def as_other_user(folder: Path, python: Path, *words: str) -> list[str]:
    """The command by which ``ORDINARY`` runs code."""
    drop = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
    return [*drop, str(python), "-I", "-B", "-X", "utf8", str(folder / "made_code.py"), str(folder / "code"), *words]


def main(resources: str, *words: str) -> None:
    sys.path.insert(0, resources)
    if words == ("bare",):
        here = [sys.executable, "-I", "-B", "-X", "utf8", __file__, resources, "entered"]
        own = [f"--map-user={os.getuid()}", f"--map-group={os.getgid()}"]
        entered = ["unshare", "--user", "--keep-caps", *own, "sh", "-c", NO_MORE]
        os.execvp("unshare", [*entered, "sh", *here])  # the new program has no capability left
    from egoworld_resources.sandbox import Bounds, capabilities

    asked: dict[str, Any] = json.load(sys.stdin)
    if "code" not in asked:
        print(json.dumps({"allowed": capabilities().allowed, "missing": dict(capabilities().missing)}))
        return
    os.environ["SERVICE_TOKEN"] = SECRET
    bounds = Bounds(**asked["bounds"])
    outcome = run_here(Path(asked["folder"]), asked["code"], bounds, asked["means"], asked["pass_fds"])
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(fields["VmHWM"].split()[0]) * 1024
    print(json.dumps({"outcome": asdict(outcome), "peak_bytes": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])

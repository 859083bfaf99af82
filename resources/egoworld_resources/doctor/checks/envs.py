"""uv, our own interpreter, the model envs and the weights: there, whole, and what was locked."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.doctor.installed import live, rebuilding, unlike_the_lock
from egoworld_resources.doctor.subprocess_with_timeout import ask
from egoworld_resources.environments.building.generations import Ready
from egoworld_resources.environments.building.installed_files import damaged_files, stamp_of
from egoworld_resources.environments.catalog import BASE, ModelEnv
from egoworld_resources.environments.contract import contract_folder
from egoworld_resources.errors import EgoworldError

SHOWN = 3
FINDS_THE_CONTRACT = "import sys, importlib.util as u; sys.exit(0 if u.find_spec('egoworld_runner') else 'no contract')"


@check("uv")
def uv(subject: Subject) -> Iterator[Finding]:
    """The program that builds envs runs and is the one that is pinned."""
    program, file = subject.settings.uv, subject.settings.project / "locks" / "uv.txt"
    fix = "make setup, or set uv (EGOWORLD_UV) to the program"
    try:
        answer = ask([program, "--version"], subject.patience_s)
    except OSError as error:
        unbuilt = [env.name for env in subject.envs() if env.runs_in != BASE and live(subject, env) is None]
        say = fault if unbuilt else warning
        why = f"; {', '.join(unbuilt)} cannot be built" if unbuilt else "; no env can be rebuilt"
        yield say("program", f"{program}: {error.strerror or error}{why}", fix)
        return
    found = re.search(r"\d+\.\d+\.\d+", answer.out)
    if answer.status != 0 or found is None:
        yield fault("program", f"{program} --version {answer.ending}", fix)
        return
    pinned = re.search(r"^uv==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE) if file.is_file() else None
    if pinned and pinned[1] != found[0]:
        yield warning("program", f"{program} is {found[0]}; pinned is {pinned[1]} ({file})", fix)
    else:
        yield ok("program", f"{found[0]} at {program}")


@check("our interpreter")
def our_interpreter(subject: Subject) -> Iterator[Finding]:
    """The packages of the running interpreter are those of its lock: manifests name the lock's versions."""
    sharing = [env.name for env in subject.envs() if env.runs_in == BASE]
    if not sharing:
        yield not_needed("packages", "no env in force uses it")
        return
    fix = "rm -rf .venv && make setup"
    try:
        locked = subject.catalog.packages(sharing[0])
    except EgoworldError as error:
        yield fault("packages", str(error), f"make lock ENV={BASE}")
        return
    found: dict[str, str] = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    others = unlike_the_lock(locked, found)
    if others:
        yield fault("packages", f"not as {subject.catalog.lock_path(sharing[0])} has it: {_first(others)}", fix)
    else:
        yield ok("packages", f"{len(locked)} as locked")
    if subject.thorough:
        yield _every_byte("files", Path(sysconfig.get_path("purelib")), fix)


@check("envs")
def envs(subject: Subject) -> Iterator[Finding]:
    """Every model env in force is built from today's lock, unchanged since, and starts."""
    hosts = sorted({env.runs_in for env in subject.envs()} - {BASE})
    own = [subject.catalog.env(name) for name in hosts]
    if not own:
        yield not_needed("model envs", "every stage in force runs in our own interpreter")
    for env in own:
        finding = _env(subject, env)
        yield finding
        generation = live(subject, env)
        if subject.thorough and generation is not None and finding.state == "ok":
            packages = next((generation / "lib").glob("python3.*")) / "site-packages"
            yield _every_byte(f"{env.name}: every byte", packages, rebuilding(subject, env))


def _env(subject: Subject, env: ModelEnv) -> Finding:
    generation, again = live(subject, env), rebuilding(subject, env)
    if generation is None:
        fix = "make envs, or let the first run that uses it build it (from the package index or uv's cache)"
        return warning(env.name, f"not built yet in {subject.layout.envs}", fix)
    ready = Ready.read(generation)
    if ready is None:
        return fault(env.name, f"{generation} was not finished", again)
    try:
        digest = subject.catalog.lock_digest(env.name)
    except EgoworldError as error:
        return fault(env.name, str(error), f"make lock ENV={env.name}")
    if ready.lock_digest != digest or ready.contract != str(contract_folder().parent):
        what = "an older lock" if ready.lock_digest != digest else f"the contract of {ready.contract}"
        return warning(env.name, f"built from {what}; the next run builds it again", "make envs, or let that run do it")
    if ready.stamp != stamp_of(generation):
        return fault(env.name, f"files of {generation} changed after they were installed", again)
    try:
        answer = ask([generation / ready.python, "-I", "-c", FINDS_THE_CONTRACT], subject.patience_s)
    except OSError as error:
        return fault(env.name, f"{generation / ready.python} cannot be started: {error.strerror or error}", again)
    if answer.status != 0:
        return fault(env.name, f"{generation / ready.python} {answer.ending}", again)
    return ok(env.name, f"{ready.files:,} files as built")


def _every_byte(about: str, site_packages: Path, fix: str) -> Finding:
    damaged = [file for files in damaged_files(site_packages).values() for file in files]
    if damaged:
        return fault(about, f"not as installed in {site_packages}: {_first(damaged)}", fix)
    return ok(about, f"{site_packages} is as its RECORD files say")


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

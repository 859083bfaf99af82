"""What the configuration, the envs folder and the locks say, and whether they agree."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.environments.errors import LockMissing, LockStale
from egoworld_resources.errors import EgoworldError, UnknownName

CORRECT = "correct egoworld.toml or EGOWORLD_*; the known names are listed"


@check("stages")
def stages(subject: Subject) -> Iterator[Finding]:
    """Every stage has an env that serves it, and the configuration names nothing that does not exist."""
    settings = subject.settings
    for table, names in (("[stages]", settings.stages), ("[params]", settings.params), ("on_cpu", settings.on_cpu)):
        for name in sorted(set(names) - set(subject.stages)):
            yield fault(table, str(UnknownName("stage", name, subject.stages)), CORRECT)
    served: list[str] = []
    for stage, env in subject.stages.items():
        try:
            model = subject.catalog.model(stage, env)
            for name in subject.settings.params.get(stage, {}):
                if name not in model.params:
                    raise UnknownName(f"parameter of {stage} ({env})", name, model.params)
        except EgoworldError as error:
            yield fault(stage, str(error), CORRECT)
        else:
            served.append(f"{stage}: {env}")
    if served:
        yield ok("in force", ", ".join(served))


@check("locks")
def locks(subject: Subject) -> Iterator[Finding]:
    """Every lock was made from what its env declares now; a fault where the env is in force."""
    in_force = {env.name for env in subject.envs()}
    fresh: list[str] = []
    for name in subject.catalog.names:
        try:
            subject.catalog.lock(name)
        except EgoworldError as error:
            host = subject.catalog.env(name).runs_in
            known = isinstance(error, LockMissing | LockStale)
            fix = f"make lock ENV={host}" if known else "correct the file that is named"
            say = fault if name in in_force else warning
            yield say(name, str(error), fix)
        else:
            fresh.append(name)
    if fresh:
        yield ok("made from today's declarations", ", ".join(fresh))


@check("compilers")
def compilers(subject: Subject) -> Iterator[Finding]:
    """A C compiler, where an env builds a package from source."""
    building = [env.name for env in subject.envs() if env.sdists]
    if not building:
        yield not_needed("cc", "no env in force builds a package from source")
    elif found := shutil.which("cc"):
        yield ok("cc", f"{found}, for {', '.join(building)}")
    else:
        yield fault("cc", f"none on PATH; {', '.join(building)} builds from source", "sudo apt-get install -y gcc")

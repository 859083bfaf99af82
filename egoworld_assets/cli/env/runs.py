"""`egoworld env run | runs | cancel`: code in envs of workflows, and its early end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli.console import Json, console
from egoworld_assets.cli.env.options import (
    Which,
    commands_of,
    fabric,
    fabric_so_far,
    fabric_with,
    key_of,
    me,
    print_json,
    text_of,
)
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.workflow_envs.config import LONGEST_RUN_S

if TYPE_CHECKING:
    from egoworld_resources.workflow_envs.runs import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
app = typer.Typer()
command = commands_of(app)


@command
def run(
    env: Which,
    file: Annotated[Path | None, typer.Argument(help="A Python program; - is standard input.")] = None,
    code: Annotated[str | None, typer.Option("-c", "--code", help="The program itself.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.001, max=LONGEST_RUN_S, help="Seconds it may run.")] = None,
    run_id: Annotated[str, typer.Option(help="By which `egoworld env cancel` finds it; one is made up else.")] = "",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for room among the runs.")] = 0,
    as_json: Json = False,
) -> None:
    """Run Python code in an env, bounded and apart from everything else; ends with the code's own exit status.

    Ctrl-C, SIGTERM and SIGHUP end the code too, and the audit says that it was cancelled.
    """
    from egoworld_resources.workflow_envs.api.models import Ran
    from egoworld_resources.workflow_envs.errors import RunTimeout
    from egoworld_resources.workflow_envs.runs import Stop

    if (file is None) == (code is None):
        raise BadConfiguration("name a file, or give the program with -c; one of the two")
    text = code if code is not None else sys.stdin.read() if str(file) == "-" else text_of(file)
    key, stop, found, run_id = key_of(env), Stop(), fabric(), run_id or uuid4().hex
    try:
        with ended_by_signals(stop) as caught:
            outcome = found.run(key, text, me(), timeout_s=timeout, run_id=run_id, wait_s=wait, stop=stop)
    except RunTimeout as late:
        if not as_json:
            _show(late.details["stdout"], late.details["stderr"])
        raise
    if as_json:
        limit = found.config.execution_timeout if timeout is None else timeout
        print_json(Ran.of_outcome(key, run_id, limit, outcome))
    else:
        _show(outcome.stdout, outcome.stderr)
        if outcome.killed_for or outcome.truncated:
            ended = {"": "output was longer than is kept", "cancelled": stop.why or "cancelled"}
            Console(stderr=True).print(ended.get(outcome.killed_for, f"ended for its {outcome.killed_for}"))
    raise typer.Exit(128 + caught[0] if caught else outcome.exit_code)


@command
def runs(
    env: Annotated[str | None, typer.Argument(metavar="[ENV]", help="Only of this env.")] = None, as_json: Json = False
) -> None:
    """All code that runs now, no matter who started it, with the ids by which it can be cancelled."""
    from egoworld_resources.workflow_envs.api.models import RunFacts, RunningCode

    found = fabric_with(key_of(env)) if env else fabric_so_far()
    going = found.runs.running(key_of(env) if env else None) if found else []
    facts = [RunFacts.of_run(one) for one in going]
    if as_json:
        print_json(RunningCode(runs=facts, most=found.runs.most if found else 0))
        return
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("env", "run", "who", "from", "s", "of at most"):
        table.add_column(column, overflow="fold")
    for one in facts:
        name = "/".join(part for part in (one.workflow_id, one.node_id, one.version_id) if part)
        figures = (f"{one.seconds:.0f}", f"{one.timeout:g}")
        table.add_row(name, one.run_id, escape(one.actor), escape(one.origin), *figures)
    console.print(table if facts else "no code runs")


@command
def cancel(env: Which, run_id: Annotated[str, typer.Argument(metavar="RUN")], as_json: Json = False) -> None:
    """End code that runs, no matter who started it; nothing of it is left afterwards."""
    from egoworld_resources.workflow_envs.api.models import CancelledRun

    ended = CancelledRun.of_run(fabric_with(key_of(env)).cancel(key_of(env), run_id, me()))
    if as_json:
        print_json(ended)
    else:
        print(f"cancelled {run_id}")


@contextmanager
def ended_by_signals(stop: Stop) -> Generator[list[int]]:
    """Signals that would end the command end the run instead; yields those that came."""
    caught: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        stop.end(f"cancelled by {signal.Signals(number).name} at the terminal")

    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield caught
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _show(stdout: str, stderr: str) -> None:
    sys.stdout.write(stdout)
    sys.stderr.write(stderr)

"""`egoworld doctor`: the findings as a table, each warning and fault with its fix."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.doctor import Finding, State, Subject, examine, worst
from egoworld_resources.settings import Settings

COLOURS: Mapping[State, str] = {"ok": "green", "not needed": "dim", "warning": "yellow", "fault": "red"}
Findings = Mapping[str, Sequence[Finding]]


def examined(settings: Settings, seconds: float, free_gb: float, thorough: bool) -> Findings:
    """Every check's findings on the configuration and the stages in force, by the check's title."""
    in_force = {name: settings.stages.get(name, stage.env) for name, stage in stages().items()}
    return examine(Subject(settings, in_force, seconds, free_gb, thorough))


def show(findings: Findings, console: Console, as_json: bool) -> bool:
    """Print findings, each warning and fault with its fix; returns whether there is a fault."""
    state = worst(finding for found in findings.values() for finding in found)
    if as_json:
        listed = [{"check": title, **asdict(finding)} for title, found in findings.items() for finding in found]
        print(json.dumps({"state": state, "findings": listed}, indent=2, ensure_ascii=False))
    else:
        console.print(_table(findings))
        for title, finding in _to_fix(findings):
            line = f"{finding.state}: {title}, {finding.about}: {finding.found}"
            console.print(f"[{COLOURS[finding.state]}]{escape(line)}", soft_wrap=True, highlight=False)
            console.print(f"  fix: {escape(finding.fix)}", soft_wrap=True, highlight=False)
        console.print(_summary(findings), highlight=False)
    return state == "fault"


def _to_fix(findings: Findings) -> list[tuple[str, Finding]]:
    found = [(title, finding) for title, several in findings.items() for finding in several if finding.fix]
    return sorted(found, key=lambda pair: pair[1].state != "fault")


def _table(findings: Findings) -> Table:
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("check", "", "state", "found"):
        table.add_column(column, overflow="fold")
    for title, found in findings.items():
        for number, finding in enumerate(found):
            state = f"[{COLOURS[finding.state]}]{finding.state}[/]"
            name = escape(title) if number == 0 else ""
            table.add_row(name, escape(finding.about), state, escape(finding.found))
    return table


def _summary(findings: Findings) -> str:
    states = [finding.state for found in findings.values() for finding in found]
    return ", ".join(f"{states.count(state)} {state}" for state in COLOURS if state in states)

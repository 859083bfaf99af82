"""What `egoworld weights` does by the layout of a model: put together, prepare, slim, environment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from egoworld_assets.cli.console import console
from egoworld_assets.cli.weights_shown import progress_shown
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.layout import readable
from egoworld_resources.settings import Settings
from egoworld_resources.weights.clients import open_hub
from egoworld_resources.weights.download import allowed
from egoworld_resources.weights.layouts import environment_of, lacking, layout_named
from egoworld_resources.weights.pickles import excepted
from egoworld_resources.weights.prepare import Plan, plan, prepare
from egoworld_resources.weights.put_together import orders_of, put_together
from egoworld_resources.weights.repository import model_named
from egoworld_resources.weights.slim import plan_slim, slim

SHOWN = 20
"""Files of one kind that are named one by one."""


def download_parts(
    settings: Settings,
    model: str,
    words: Sequence[str],
    revisions: Sequence[str],
    licences: Sequence[str],
    workers: int,
    stall_s: float,
) -> Path:
    """Put a model together of its parts; its folder."""
    layout = layout_named(settings, model)
    options = layout.chosen(words)
    orders = orders_of(layout, options, _by_part(revisions, "--revision"), _by_part(licences, "--licence"), workers)
    for order in orders:
        allowed(order.source, settings.weights_sources)
    hubs = {name: open_hub(settings, name, stall_s) for name in sorted({order.hub for order in orders})}
    folder = put_together(layout, orders, settings.model_home, hubs.__getitem__, progress_shown, excepted(settings))
    _say_lacking(settings, model)
    return folder


def show_prepared(settings: Settings, model: str, words: Sequence[str], old: Path | None, *, apply: bool) -> bool:
    """Say what prepare does, and do it with ``apply``; whether inference then has all that it needs."""
    layout = layout_named(settings, model)
    todo = plan(layout, settings.model_home, layout.chosen(words), old)
    _say_plan(todo)
    if not apply:
        _say(f"nothing was changed; egoworld weights {' '.join(['prepare', model, *words])} --apply does it")
        return True
    folder = prepare(todo, excepted(settings))
    _say(f"{folder} has its manifest; the old place is as it was: egoworld weights verify {model}, then remove it")
    return not _say_lacking(settings, model)


def show_slimmed(settings: Settings, model: str, *, apply: bool) -> bool:
    """Say what slim removes, and do it with ``apply``; whether the rest is whole."""
    todo = plan_slim(model_named(settings.model_home, model), layout_named(settings, model), settings)
    if not todo.gone:
        _say(f"{model} has nothing to spare")
        return True
    for one in todo.gone:
        _say(f"  {_gb(one.bytes)}  {one.path}: {one.reason}")
    rest = f"{len(list(todo.rest.files()))} files, {_gb(todo.rest.bytes)}"
    if not apply:
        _say(f"{_gb(todo.bytes)} in {len(todo.gone)} files would go, {rest} stay and are there by name and size")
        _say(f"nothing was changed; egoworld weights slim {model} --apply does it")
        return True
    wrong = slim(todo, settings)
    if wrong:
        _say("\n  ".join([f"{model}: {_gb(todo.bytes)} are gone, but the rest is not whole:", *map(str, wrong)]))
    else:
        _say(f"{model}: {_gb(todo.bytes)} are gone; the rest is whole, every byte compared: {rest}")
    return not wrong


def show_environment(settings: Settings, model: str) -> None:
    """Print the variables of a layout."""
    for name, value in environment_of(layout_named(settings, model), settings).items():
        print(f"{name}={value}")


def _say_plan(todo: Plan) -> None:
    for part, group in groupby(sorted(todo.moves, key=lambda move: move.part.name), key=lambda move: move.part.name):
        moves = list(group)
        _say(f"{part}: {len(moves)} files, {_gb(sum(move.bytes for move in moves))}")
        for move in moves[:SHOWN]:
            there = "" if move.origin == todo.target / move.path else f"  from {readable(str(move.origin))}"
            _say(f"  {move.path}{there}")
        if len(moves) > SHOWN:
            _say(f"  and {len(moves) - SHOWN} more")
    for reason, group in groupby(sorted(todo.stays, key=lambda one: one.reason), key=lambda one: one.reason):
        ones = list(group)
        first = readable(str(ones[0].origin))
        _say(f"left: {len(ones)} files, {_gb(sum(one.bytes for one in ones))}, {first} first: {reason}")
    _say(f"{todo.target}: {len(todo.moves)} files, {_gb(todo.bytes)} come under its manifest")


def _say_lacking(settings: Settings, model: str) -> bool:
    found = lacking(layout_named(settings, model), settings)
    for one in found:
        _say(str(one))
    return bool(found)


def _by_part(given: Sequence[str], option: str) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if wrong := next((name for name, sign, value in pairs if not (sign and value)), None):
        raise BadConfiguration(f"{option} {wrong}: of a model of several parts, say {option} PART=VALUE for each")
    return {name: value for name, _, value in pairs}


def _gb(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 10**7 else f"{size / 1e6:,.2f} MB"


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)

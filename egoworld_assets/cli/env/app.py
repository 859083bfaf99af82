"""`egoworld env ...`: the commands on envs, each family of them in a module of its own."""

from __future__ import annotations

import typer

from egoworld_assets.cli.env import changes, policy, runs, serve, views

app = typer.Typer()
app.add_typer(policy.app)
app.add_typer(views.app)
app.add_typer(changes.app)
app.add_typer(runs.app)
app.add_typer(serve.app)

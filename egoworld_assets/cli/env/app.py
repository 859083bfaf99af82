"""`egoworld env ...`: the commands on envs, each family of them in a module of its own."""

from __future__ import annotations

import typer

from egoworld_assets.cli.env import changes, policy, runs, serve, views

env = typer.Typer(no_args_is_help=True, help="Envs: what they may contain, what they need, where they stand.")
env.add_typer(policy.app)
env.add_typer(views.app)
env.add_typer(changes.app)
env.add_typer(runs.app)
env.add_typer(serve.app)

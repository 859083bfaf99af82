"""`egoworld env ...`: the commands on envs, each family of them in a module of its own."""

from __future__ import annotations

import typer

from egoworld_assets import cli_env_changes, cli_env_policy, cli_env_runs, cli_env_serve, cli_env_views

env = typer.Typer(no_args_is_help=True, help="Envs: what they may contain, what they need, where they stand.")
env.add_typer(cli_env_policy.app)
env.add_typer(cli_env_views.app)
env.add_typer(cli_env_changes.app)
env.add_typer(cli_env_runs.app)
env.add_typer(cli_env_serve.app)

"""Families of commands whose module is loaded when one of them, or the list of them, is asked for."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Family(TyperGroup):
    """The commands of the ``app`` of a module; ``egoworld --help`` names the family without loading it."""

    module = ""

    @cached_property
    def loaded(self) -> TyperGroup:
        return get_group(import_module(self.module).app)

    def list_commands(self, ctx: Any) -> list[str]:
        return self.loaded.list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        found = self.loaded.get_command(ctx, cmd_name)
        return found if isinstance(found, TyperCommand | TyperGroup) else None


class Envs(Family):
    module = "egoworld_assets.cli.env.app"


class Kits(Family):
    module = "egoworld_assets.cli.kit"


class Weights(Family):
    module = "egoworld_assets.cli.weights"

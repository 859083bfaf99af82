"""Known errors on the command line: one message and exit status 1, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from egoworld_resources.errors import EgoworldError


def errors_shown(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose known errors are shown as one message and exit status 1; an interrupt ends it with 130."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except EgoworldError as error:
            Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as stop:
            Console(stderr=True).print("interrupted; what was made is kept, run it again to go on")
            raise typer.Exit(130) from stop

    return run

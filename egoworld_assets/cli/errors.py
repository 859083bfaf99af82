"""Known errors on the command line: one message and exit status 1, no traceback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from egoworld_resources.errors import EgoworldError
from egoworld_resources.programs.redaction import redacted


def errors_shown(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose known errors are shown as one message and exit status 1; an interrupt ends it with 130.

    With --json the error is printed in the one shape of the API too, so that a program that reads JSON gets JSON.
    """

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except EgoworldError as error:
            if kwargs.get("as_json"):
                print(redacted(json.dumps({"error": as_facts(error)}, indent=2, default=str)))
            said = escape(redacted(str(error)))
            Console(stderr=True).print(f"[red]error:[/red] {said}", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as stop:
            Console(stderr=True).print("interrupted; what was made is kept, run it again to go on")
            raise typer.Exit(130) from stop

    return run


def as_facts(error: EgoworldError) -> dict[str, Any]:
    """code, message and details; the code of an error that has none of its own is its name."""
    code = getattr(error, "code", "") or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()
    return {"code": code, "message": str(error), "details": dict(error.details)}

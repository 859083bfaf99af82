"""What schemathesis needs to know of the API of envs beyond its OpenAPI; loaded by schemathesis as its hooks.

A schema cannot say which packages an index has, so values are limited to those that the made-up index serves.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies

WORTH = {
    "pep508": ["tiny", "tiny<2", "leaf"],
    "package-name": ["tiny", "leaf"],
    "python-version": ["", "3.11"],
    "requirements-txt": ["", "tiny\n# a line\nleaf"],
    "python-code": ["", "print('x')", "1/0"],
}
ENOUGH_S = 60
FORM_TEXT = {"type": "string", "enum": ["tiny\n", "# nothing\n"]}

for name, values in WORTH.items():
    schemathesis.openapi.format(name, strategies.sampled_from(values))


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """There is no conda channel here, and a file of any bytes is not a requirements.txt."""
    for media in raw_schema["paths"]["/envs"]["post"]["requestBody"]["content"].values():
        fields = media["schema"]["properties"]
        fields["backend"]["enum"] = ["uv"]
        fields.pop("conda_file", None)
        if "requirements_file" in fields:
            fields["requirements_file"] = FORM_TEXT
            media.pop("encoding")


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Code gets enough time: how long it takes here is not what is asked about."""
    body: Any = case.body
    asked = body.get("timeout") if isinstance(body, dict) else None
    if isinstance(asked, float | int) and 0.1 <= asked < ENOUGH_S:
        body["timeout"] = ENOUGH_S

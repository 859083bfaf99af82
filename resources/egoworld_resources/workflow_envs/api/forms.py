"""The body of POST /envs: a form, or the same as JSON."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile

from egoworld_resources.workflow_envs.api.bodies import JSON, media_type, parsed
from egoworld_resources.workflow_envs.api.errors import InvalidRequest, WrongMediaType
from egoworld_resources.workflow_envs.api.gate import LONGEST
from egoworld_resources.workflow_envs.api.models import MOST_PACKAGES, CreateEnv
from egoworld_resources.workflow_envs.errors import InvalidPackages

FORM: Final = "multipart/form-data"
SHORT_FORM: Final = "application/x-www-form-urlencoded"
FILES: Final = {"requirements_file": "requirements", "conda_file": "conda_file"}
"""Fields of the form that are files, and what their text is called as JSON."""
FILE_WORDS: Final = {
    "requirements_file": "a requirements.txt, added to packages",
    "conda_file": "a conda-lock.yml, an explicit lock or an environment.yml, instead of packages",
}


async def create_env(request: Request) -> CreateEnv:
    """The body, whichever of the forms it has. Raises WrongMediaType, InvalidRequest, InvalidPackages."""
    kind = media_type(request)
    if kind == JSON:
        fields = parsed(await request.body())
    elif kind in (FORM, SHORT_FORM):
        try:
            form = await request.form(max_files=len(FILES), max_fields=MOST_PACKAGES + 20, max_part_size=LONGEST)
        except (FormParserError, LookupError, ValueError) as error:
            raise InvalidRequest(f"the body is not {kind}: {error}") from error
        fields = await _of_form(form)
    else:
        raise WrongMediaType(f"a body of type {kind or 'none'} is not read; send {FORM} or {JSON}")
    try:
        return CreateEnv.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from error


async def _of_form(form: FormData) -> dict[str, Any]:
    """Fields by name. packages: repeated, or one that holds a JSON list."""
    fields: dict[str, Any] = {}
    for name in form:
        values = form.getlist(name)
        if name == "packages":
            fields[name] = _packages(values)
        elif name in FILES:
            fields[FILES[name]] = await _text(name, values)
        else:
            fields[name] = values[0] if len(values) == 1 else values
    return fields


def _packages(values: list[Any]) -> list[Any]:
    if len(values) == 1 and isinstance(values[0], str) and values[0].lstrip().startswith("["):
        try:
            return parsed(values[0])
        except InvalidRequest as error:
            raise InvalidPackages(f"packages starts like a JSON list but is not one: {error}") from error
    return values


async def _text(name: str, values: list[Any]) -> str:
    """The content of an uploaded file; a field that holds the text itself is taken too."""
    if len(values) != 1:
        raise InvalidRequest(f"{name}: send one file")
    if not isinstance(values[0], UploadFile):
        return str(values[0])
    try:
        return (await values[0].read()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name} is not UTF-8 text: {error}") from error


def described() -> dict[str, Any]:
    """For OpenAPI: what FastAPI cannot see, since the body is read by hand."""
    as_json = CreateEnv.model_json_schema()
    fields = {name: schema for name, schema in as_json["properties"].items() if name not in FILES.values()}
    short = {**as_json, "properties": fields, "description": "packages: repeated, or one field with a JSON list"}
    files = {name: {"type": "string", "format": "binary", "description": FILE_WORDS[name]} for name in FILES}
    whole = {**short, "properties": {**fields, **files}}
    content = {
        FORM: {"schema": whole, "encoding": {name: {"contentType": "text/plain"} for name in FILES}},
        JSON: {"schema": as_json},
        SHORT_FORM: {"schema": short},
    }
    return {"requestBody": {"required": True, "content": content}}

"""Serves the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fastapi import APIRouter, Response

FOLDER = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}

router = APIRouter()


def _file(name: str, kind: str) -> Response:
    return Response((FOLDER / name).read_bytes(), media_type=kind, headers=HEADERS)


for _path, (_name, _kind) in FILES.items():
    router.add_api_route(_path, partial(_file, _name, _kind), include_in_schema=False, response_class=Response)

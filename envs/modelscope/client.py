"""Lists a repository of ModelScope, or fetches files of one commit of it: `python -I client.py`.

The request is the first line of standard input, as JSON; when that input ends, so does the client. Answers are lines
of JSON. A file's bytes are appended to what is there of it; whether they are right is not judged here.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Thread
from typing import Any

from modelscope_hub import HubApi
from modelscope_hub.errors import NotExistError

MODEL = "model"


ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what libraries print is no answer


def answer(fact: dict[str, Any]) -> None:
    """One line of JSON."""
    ANSWERS.write(json.dumps(fact) + "\n")


def end_with_input() -> None:
    """End this process when the one that asked is gone, so that two never write one file."""
    sys.stdin.read()
    os._exit(1)


def listed(request: dict[str, Any]) -> dict[str, Any]:
    """Commit, licence and files of a repository, or that there is none.

    The hub does not say which commit a branch stands at: without a full commit, that of the file changed last is given.
    """
    api = HubApi()
    try:
        found = api.legacy.list_repo_files(request["repo"], MODEL, revision=request["revision"] or "master")
    except NotExistError as error:
        return {"absent": str(error).strip().splitlines()[0]}
    entries = [entry for entry in found if entry.get("Type") != "tree"]
    files = [
        {"path": one["Path"], "bytes": one.get("Size"), "sha256": one.get("Sha256") or "", "git": ""} for one in entries
    ]
    newest = max(entries, key=lambda one: one.get("CommittedDate") or 0, default={})
    commit = request["revision"] if len(request["revision"]) == 40 else newest.get("Revision") or ""
    licence = api.legacy.get_repo_info(request["repo"], MODEL).get("License") or ""
    return {"commit": commit, "licence": licence if isinstance(licence, str) else "", "files": files}


def fetched(api: HubApi, request: dict[str, Any], file: dict[str, Any]) -> None:
    """Fetch a file beside its part, under its own name, and move it there when the client has all of it."""
    folder = Path(file["part"]).with_suffix(".client")
    done = api.download_file(
        request["repo"], MODEL, file["path"], revision=request["revision"], local_dir=folder, file_size=file["bytes"]
    )
    done.rename(file["part"])


def main() -> None:
    """Answer the request."""
    request = json.loads(sys.stdin.readline())
    Thread(target=end_with_input, daemon=True).start()
    if request["verb"] == "list":
        answer(listed(request))
        return
    answer({"began": True})
    api = HubApi()
    with ThreadPoolExecutor(request["workers"]) as pool:
        running = {pool.submit(fetched, api, request, file): file["path"] for file in request["files"]}
        for done in as_completed(running):
            error = done.exception()
            answer({"path": running[done], "failed": f"{type(error).__name__}: {error}" if error else ""})


if __name__ == "__main__":
    main()

"""Lists a repository of a Hugging Face hub, or fetches files of one commit of it: `python -I client.py`.

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

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.file_download import get_hf_file_metadata, http_get
from huggingface_hub.utils import build_hf_headers

constants.DOWNLOAD_CHUNK_SIZE = 2**20  # what a kill loses of each file


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
    """Commit, licence and files of a repository, or that there is none."""
    try:
        info = HfApi().model_info(request["repo"], revision=request["revision"] or None, files_metadata=True)
    except GatedRepoError:  # it is there, and asks for a token
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        return {"absent": str(error).strip().splitlines()[0]}
    files = [
        {
            "path": one.rfilename,
            "bytes": one.size,
            "sha256": one.lfs.sha256 if one.lfs else "",
            "git": "" if one.lfs else one.blob_id or "",
        }
        for one in info.siblings or []
    ]
    licence = (info.card_data.get("license") if info.card_data else None) or ""
    return {"commit": info.sha or "", "licence": licence if isinstance(licence, str) else "", "files": files}


def fetched(request: dict[str, Any], file: dict[str, Any]) -> None:
    """Append to a file's part what is missing of it."""
    url = hf_hub_url(request["repo"], file["path"], revision=request["revision"])
    found = get_hf_file_metadata(url)
    if found.commit_hash not in (None, request["revision"]):
        raise ValueError(f"the hub answers for commit {found.commit_hash}")
    with Path(file["part"]).open("ab", buffering=0) as part:
        http_get(url, part, resume_size=part.tell(), headers=build_hf_headers(), expected_size=file["bytes"])


def main() -> None:
    """Answer the request."""
    request = json.loads(sys.stdin.readline())
    Thread(target=end_with_input, daemon=True).start()
    if request["verb"] == "list":
        answer(listed(request))
        return
    answer({"began": True})
    with ThreadPoolExecutor(request["workers"]) as pool:
        running = {pool.submit(fetched, request, file): file["path"] for file in request["files"]}
        for done in as_completed(running):
            error = done.exception()
            answer({"path": running[done], "failed": f"{type(error).__name__}: {error}" if error else ""})


if __name__ == "__main__":
    main()

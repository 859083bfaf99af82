"""A hub of models on this machine that speaks Hugging Face's protocol and ModelScope's, and fails as it is told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0de"
REPO = "lab/tiny"
LARGE = ".safetensors"
"""Files of this ending are stored as in Git LFS; of the others a Hugging Face hub names only a git blob id."""


@dataclass
class MadeHub:
    """What the hub holds and how it fails: all by path of a file."""

    files: Mapping[str, bytes]
    licence: str = "apache-2.0"
    sent: dict[str, bytes] = field(default_factory=dict[str, bytes])  # other bytes than those that it lists
    drop_after: dict[str, int] = field(default_factory=dict[str, int])  # bytes of an answer after which it hangs up
    stall_at: dict[str, int] = field(default_factory=dict[str, int])  # byte of the file from which it says nothing
    drops: Counter[str] = field(default_factory=Counter[str])  # how often it hangs up yet
    redirect_to: str = ""
    absent_from: set[str] = field(default_factory=set[str])  # names of the protocols under which it has no model
    bytes_sent: Counter[str] = field(default_factory=Counter[str])
    tokens: list[str] = field(default_factory=list[str])
    over: threading.Event = field(default_factory=threading.Event)

    def huggingface_listing(self) -> dict[str, object]:
        siblings = [
            {
                "rfilename": path,
                "size": len(data),
                "blobId": sha1(b"blob %d\0" % len(data) + data).hexdigest(),
                **(
                    {"lfs": {"sha256": sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}}
                    if large(path)
                    else {}
                ),
            }
            for path, data in self.files.items()
        ]
        return {"id": REPO, "sha": COMMIT, "siblings": siblings, "cardData": {"license": self.licence}, "tags": []}

    def modelscope_listing(self) -> dict[str, object]:
        files = [
            {"Path": path, "Name": path.split("/")[-1], "Type": "blob", "Size": len(data),
             "Sha256": sha256(data).hexdigest(), "Revision": COMMIT, "CommittedDate": 1}
            for path, data in self.files.items()
        ]  # fmt: skip
        return {"Code": 200, "Success": True, "Data": {"Files": files}}


def large(path: str) -> bool:
    return path.endswith(LARGE)


class Answers(BaseHTTPRequestHandler):
    """What a hub answers."""

    protocol_version = "HTTP/1.1"
    hub: MadeHub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.tokens.append(self.headers.get("Authorization", "") + self.headers.get("Cookie", ""))
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        protocol = "modelscope" if url.path.startswith("/api/v1/") else "huggingface"
        if protocol in self.hub.absent_from:
            self.absent()
        elif url.path.startswith(f"/api/models/{REPO}"):
            self.say(self.hub.huggingface_listing())
        elif url.path == f"/api/v1/models/{REPO}/repo/files":
            self.say(self.hub.modelscope_listing())
        elif url.path == f"/api/v1/models/{REPO}/repo":
            self.file(query["FilePath"][0])
        elif url.path == f"/api/v1/models/{REPO}":
            self.say({"Code": 200, "Success": True, "Data": {"License": self.hub.licence}})
        elif found := re.fullmatch(rf"/{REPO}/resolve/{COMMIT}/(.+)", url.path):
            self.file(unquote(found[1]))
        else:
            self.absent()

    def absent(self) -> None:
        """There is no such model, as each hub says it."""
        document = {"Code": 10010205001, "Success": False, "Message": "the model does not exist"}
        data = json.dumps(document).encode()
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def say(self, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def file(self, path: str) -> None:
        listed = self.hub.files[path]
        data = self.hub.sent.get(path, listed)
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        elsewhere = self.hub.redirect_to and large(path)
        self.send_response(302 if elsewhere else 206 if begin else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha1(listed).hexdigest()}"')
        if large(path):
            self.send_header("X-Linked-Size", str(len(listed)))
            self.send_header("X-Linked-ETag", f'"{sha256(listed).hexdigest()}"')
        if elsewhere:
            self.send_header("Location", self.hub.redirect_to + self.path)
        if begin and not elsewhere:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", "0" if elsewhere else str(len(data) - begin))
        self.end_headers()
        if self.command == "GET" and not elsewhere:
            self.body(path, data, begin)

    def body(self, path: str, data: bytes, begin: int) -> None:
        hub = self.hub
        dropped = path in hub.drop_after and hub.drops[path] > 0
        until = begin + hub.drop_after[path] if dropped else max(begin, hub.stall_at.get(path, len(data)))
        try:
            for at in range(begin, min(until, len(data)), 2**16):
                piece = data[at : min(at + 2**16, until)]
                self.wfile.write(piece)
                hub.bytes_sent[path] += len(piece)
            self.wfile.flush()
        except ConnectionError:
            self.close_connection = True
            return
        if dropped:
            hub.drops[path] -= 1
            self.close_connection = True
        elif until < len(data):
            while not hub.over.is_set():
                time.sleep(0.02)
            self.close_connection = True


class Server(ThreadingHTTPServer):
    """Says nothing of clients that hang up."""

    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        pass


@contextmanager
def serving(hub: MadeHub, host: str = "127.0.0.1") -> Iterator[str]:
    """The address at which a hub answers."""
    answers = type("AnswersOfOne", (Answers,), {"hub": hub})
    server = Server((host, 0), answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        hub.over.set()
        server.shutdown()
        server.server_close()
        thread.join()

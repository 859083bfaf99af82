"""Files beside videos in which people say something about them: <the video's file name>.egoworld.json.

What a sidecar says is recorded under its video's key, whether the video is here or not; a video that arrives, and one
whose bytes are replaced, takes it up. A sidecar that goes away takes nothing back: `egoworld prompt --remove` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from egoworld_resources.annotations.said import annotate, pictures_of, said
from egoworld_resources.annotations.text import annotations_in
from egoworld_resources.inbox.origins import Origin, Refused, changed, empty
from egoworld_resources.layout import readable, video_key
from egoworld_resources.store.protocol import Store
from egoworld_runner.annotations import KINDS, BadAnnotation

SUFFIX = ".egoworld.json"
RECORD, VIDEOS, DUPLICATES = "sidecars", "videos", "duplicates"


def video_beside(name: str) -> str:
    """The name of the video that a file of this name says something about; empty for any other file."""
    return name.removesuffix(SUFFIX) if name.endswith(SUFFIX) and not name.endswith(f"/{SUFFIX}") else ""


def known(store: Store, origin: Origin, name: str) -> bool:
    """Whether this very sidecar was taken before and has not changed since."""
    facts = store.recorded(RECORD, video_key(video_beside(name)))
    return facts is not None and facts["seen"] == origin.identity() != ""


def take(store: Store, origin: Origin, name: str) -> bool:
    """Record what a sidecar says and, if its video is here, make that hold; whether the video is.

    Raises Refused for one that cannot be used.
    """
    video = video_beside(name)
    key = video_key(video)
    facts = store.recorded(VIDEOS, key)
    if known(store, origin, name):
        return facts is not None
    if twin := store.recorded(DUPLICATES, key):
        holder = store.recorded(VIDEOS, twin["duplicate_of"]) or {"name": twin["duplicate_of"]}
        same = f"{readable(video)!r} has the bytes of {holder['name']!r}"
        raise Refused(f"{readable(name)!r}: {same}; name it {holder['name'] + SUFFIX!r}")
    seen = origin.identity()
    found = value_in(origin, name, store, key)
    if seen != origin.identity():
        raise changed(name)
    record = {"name": readable(name), "seen": seen, "origin": origin.where, "said": found}
    if facts:
        make_hold(store, key, facts, record)
    store.record(RECORD, key, record)
    return facts is not None


def value_in(origin: Origin, name: str, store: Store, key: str) -> dict[str, Any]:
    """What a sidecar says. Raises Refused."""
    text = origin.head()  # more than MOST_BYTES of it: what is larger is seen to be
    if not text:
        raise empty(name)
    try:
        return annotations_in(text, pictures_of(store, key))
    except BadAnnotation as error:
        raise Refused(f"{readable(name)!r}: {error}; put it right and bring it again") from error


def taken_up(store: Store, key: str, facts: Mapping[str, Any]) -> None:
    """Make hold what the sidecar of a video says that arrives with these facts, if there is one."""
    record = store.recorded(RECORD, key)
    if record:
        make_hold(store, key, facts, record)


def make_hold(store: Store, key: str, facts: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Make hold what a sidecar says; what an earlier one of the name said and this one does not is taken back."""
    for kind in KINDS:
        before = None if kind in record["said"] else said(store, kind, key)
        if kind in record["said"] or (before and before.manifest.source["said_in"] == record["name"]):
            annotate(store, kind, key, record["said"].get(kind), facts, record["name"], by="sidecar")


def without_video(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of sidecars whose video is not here, by the key that it will have."""
    found = list(store.records(RECORD))
    here = set(store.keys(VIDEOS)) if found else set[str]()
    return ((key, facts) for key, facts in found if key not in here)

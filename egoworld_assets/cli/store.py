"""`egoworld fsck`, `gc` and `buckets`: check the store, free what is old, set up buckets and keys."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.leases.removals import removing
from egoworld_resources.opening import S3_NEEDS, open_store
from egoworld_resources.settings import Settings
from egoworld_resources.store import fsck, gc
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.protocol import Inspected

if TYPE_CHECKING:
    from egoworld_resources.s3.access import S3Access
    from egoworld_resources.store.s3 import S3Store

SHOWN = 50
UNFINISHED = timedelta(days=1)
"""What is younger may still be being sent."""
COLOURS = {"missing": "red", "damaged": "red", "orphaned": "yellow"}


def look_through(settings: Settings, console: Console, quick: bool, as_json: bool, forget: bool) -> bool:
    """Print every fault of the store; returns whether nothing is missing or damaged. What is orphaned only takes space.

    forget: artifacts with a missing or damaged file are forgotten, and no longer count when that was all. Raises
    LockBusy then while a backup is being made.
    """
    with removing(settings.home) if forget else nullcontext():
        return _look_through(open_store(settings), console, quick, as_json, forget)


def _look_through(store: Inspected, console: Console, quick: bool, as_json: bool, forget: bool) -> bool:
    forgotten = 0
    found: Counter[str] = Counter()
    freed = 0
    for fault in fsck.fsck(store, quick):
        found[fault.kind] += 1
        freed += fault.bytes
        forgotten += forget and fsck.forget(store, fault)
        if as_json:
            print(json.dumps(asdict(fault), ensure_ascii=False))
        else:
            shown = f"[{COLOURS[fault.kind]}]{fault.kind}[/] {escape(fault.key)}: {escape(fault.why)}"
            console.print(shown, soft_wrap=True, highlight=False)
    if not as_json:
        shown_counts = ", ".join(f"{count} {kind}" for kind, count in found.items())
        fix = f" ({decimal(freed)}; `egoworld gc` frees it)" if found["orphaned"] else ""
        console.print((shown_counts + fix) if shown_counts else "everything is as it should be")
    if forgotten and not as_json:
        console.print(f"{forgotten} of them forgotten with their artifacts; `egoworld refresh` makes those again")
    return found["missing"] + found["damaged"] == forgotten


def make_index_again(settings: Settings, console: Console, as_json: bool) -> None:
    """Make every row of the index what the store says, and name those that were not."""
    from egoworld_resources.store.reindex import reindex

    store = open_store(settings)
    assert store.index is not None, "every store that is opened by its settings has one"
    differed = list(reindex(store.index, store))
    if as_json:
        print(json.dumps({"differed": differed}, indent=2, ensure_ascii=False))
        return
    for row in differed:
        console.print(f"[yellow]differed[/] {escape(row)}", soft_wrap=True, highlight=False)
    said = f"{len(differed):,} rows differed and were put right" if differed else "the index says what the store says"
    console.print(said, highlight=False)


def collect(settings: Settings, console: Console, policy: gc.Policy, apply: bool, as_json: bool) -> None:
    """Print what the policy would remove and how many bytes that frees; with ``apply`` remove it.

    Raises LockBusy then, and nothing is removed, while a backup is being made.
    """
    with removing(settings.home) if apply else nullcontext():
        _collect(open_store(settings), console, policy, apply, as_json)


def _collect(store: FolderStore | S3Store, console: Console, policy: gc.Policy, apply: bool, as_json: bool) -> None:
    removals = list(gc.plan(store, policy))
    gone = [removal for removal in removals if gc.apply(store, removal)] if apply else removals
    uploads = [] if isinstance(store, FolderStore) else unfinished(store.access, policy, apply)
    size = sum(removal.bytes for removal in gone)
    if as_json:
        entries = [{"what": r.what, "why": r.why, "objects": len(r.keys), "bytes": r.bytes} for r in gone]
        shown_counts = {"applied": apply, "bytes": size, "removals": entries, "unfinished_uploads": uploads}
        print(json.dumps(shown_counts, indent=2, ensure_ascii=False))
        return
    for removal in gone[:SHOWN]:
        said = f"{escape(removal.what)}: {escape(removal.why)}, {len(removal.keys)} objects, {decimal(removal.bytes)}"
        console.print(said, soft_wrap=True, highlight=False)
    if len(gone) > SHOWN:
        console.print(f"… and {len(gone) - SHOWN} more (--json names all)")
    objects = sum(len(removal.keys) for removal in gone)
    done = "removed" if apply else "would be removed (dry run; --apply removes it)"
    console.print(f"{objects} objects, {decimal(size)} ({size:,} bytes) {done}")
    if uploads:
        console.print(f"{len(uploads)} unfinished uploads {done}")


def unfinished(access: S3Access, policy: gc.Policy, apply: bool) -> list[str]:
    """Keys of uploads in parts that were begun long ago and never ended; with ``apply`` their parts are removed."""
    from egoworld_resources.s3.buckets import Buckets

    buckets, before = Buckets(access), datetime.now(UTC) - max(policy.older_than, UNFINISHED)
    found = buckets.unfinished("artifacts", before)
    for upload in found if apply else ():
        buckets.give_up("artifacts", upload)
    return [upload.key for upload in found]


def policy_of(keep: int, older_than: float) -> gc.Policy:
    """keep: old versions of each artifact; older_than: days."""
    return gc.Policy(keep=keep, older_than=timedelta(days=older_than))


def make_buckets(settings: Settings, console: Console) -> None:
    """Make those of the three buckets that are not there yet."""
    from egoworld_resources.s3.access import BUCKETS, S3Access
    from egoworld_resources.s3.buckets import Buckets

    if settings.store == "folder":
        raise BadConfiguration(f"store = 'folder' has no buckets; for S3 set {', '.join(S3_NEEDS)}")
    access = S3Access.load()
    made = Buckets(access).make()
    for which in BUCKETS:
        name = access.bucket(which)
        console.print(f"{which}: {name} {'made' if name in made else 'was there'}", highlight=False)


def role_keys(role: str, hours: float, console: Console, name: str = "") -> None:
    """Print keys that can do what a role may and end by themselves, as lines for a shell or an .env file.

    name: of an uploader, whose folder of the inbox the keys are for.
    """
    from egoworld_resources.s3.access import ROLES, UPLOADER, S3Access
    from egoworld_resources.s3.buckets import temporary, uploader
    from egoworld_resources.server.environment import ACCOUNT

    known: dict[str, Any] = {name: name for name in ROLES}
    if role not in known:
        raise BadConfiguration(f"unknown role {role!r}; known: {', '.join(ROLES)}")
    if name and (role != UPLOADER or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name)):
        raise BadConfiguration("--name is that of an uploader: 1 to 31 of a-z, 0-9 and -")
    access = S3Access.load()
    if access.access_key.get_secret_value() in {ACCOUNT.format(role=name) for name in ROLES}:
        raise BadConfiguration(
            "keys that a role's key makes may do no more than that role: make them with the owner's key, or give out "
            f"the account of the role: python -m egoworld_resources.server key {role}"
        )
    keys = temporary(access, uploader(name) if name else role, int(hours * 3600))
    console.print(f"S3_ENDPOINT={keys.public_endpoint or keys.endpoint}", highlight=False, soft_wrap=True)
    for name in ("access_key", "secret_key", "session_token"):
        console.print(f"S3_{name.upper()}={getattr(keys, name).get_secret_value()}", highlight=False, soft_wrap=True)
    console.print(f"S3_BUCKET_NAME={keys.bucket_name}", highlight=False)

"""The part that keeps the inbox in bounds: who has used up a quota brings nothing more; what is old goes.

S3 servers bound buckets, not folders. So the folders are counted each INBOX_KEEPER_EVERY_S of the .env, old versions
too, and an account whose folder is over its quota loses the right to write until there is room again: what came in
between stays. Why it can bring nothing is among what the inbox refused: `egoworld status --refused`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from egoworld_resources.errors import EgoworldError
from egoworld_resources.layout import video_key
from egoworld_resources.leases.locks import write_private
from egoworld_resources.leases.processes import Identity
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.server.environment import EnvFile, ServerSettings
from egoworld_resources.server.launch import Launch
from egoworld_resources.server.probes import Unhealthy
from egoworld_resources.server.uploaders import Lying, Uploaders, lying, settle
from egoworld_resources.store.s3 import S3Store

log = logging.getLogger(__name__)

TIDIED_S = 3600.0
LONGEST_S = 300.0
"""Between two looks, at most."""
SILENT_S = 2 * LONGEST_S
"""A keeper that looked longer ago than this hangs."""
SEEN = "inbox_seen.json"
"""What the last look found."""


def keeper(folder: Path, home: Path) -> Launch:
    """The keeper of the server whose state lies in ``folder``; it reads the owner's key from the .env."""
    words = ("-m", "egoworld_resources.server", "uploader", "watch")
    (folder / SEEN).unlink(missing_ok=True)
    return Launch((sys.executable, *words), {"EGOWORLD_HOME": str(home)})


def keeps(folder: Path) -> str:
    """When it last looked; raises Unhealthy."""
    try:
        seen = json.loads((folder / SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unhealthy(f"the inbox was not looked at yet ({folder / SEEN})") from error
    who = Identity.parse(seen["process"])
    if who is None or who.ended:
        raise Unhealthy("it has ended")
    age = max(0.0, time.time() - seen["at"])
    if age > SILENT_S or seen["fault"]:
        raise Unhealthy(f"looked at the inbox {age:.0f} s ago: {seen['fault'] or 'it hangs'}")
    return f"looked at the inbox {age:.0f} s ago; over quota: {', '.join(seen['full']) or 'nobody'}"


def look(folder: Path, server: ServerSettings) -> list[str]:
    """Count the folders of the inbox and bound the accounts; names of those that are over their quota.

    Raises StoreRefused, StoreUnreachable, BadConfiguration.
    """
    uploaders = Uploaders(folder)
    known = {name: one for name, one in uploaders.all().items() if one.gb or one.files}
    all_ = lying(Buckets(server.s3_access)) if known else {}
    why = {name: one.used_up(all_.get(name, Lying())) for name, one in known.items()}
    full = [name for name, said in why.items() if said]
    if uploaders.note_full(full):
        settle(folder, server)
    tell(folder, server, why)
    return full


def tell(folder: Path, server: ServerSettings, why: Mapping[str, str]) -> None:
    """Have it among the refusals of the inbox why uploaders can bring nothing; empty: they can."""
    store = S3Store(server.s3_as("pipeline"), folder / "inbox_keeper", 1)
    for name, reason in why.items():
        key, facts = video_key(f"quota of {name}"), {"name": f"{name}/", "reason": reason, "inbox": False, "seen": ""}
        known = store.recorded("refusals", key)
        if (known or {}).get("reason", "") != reason:
            store.record("refusals", key, facts if reason else None)


def watch(folder: Path) -> None:
    """Look again and again until a signal; versitygw, which has no lifecycles, is tidied once an hour."""
    tidied, last, every_s = 0.0, [""], LONGEST_S
    while True:
        full, fault = list[str](), ""
        try:
            server = EnvFile(folder / ".env").load()
            every_s = server.inbox_keeper_every_s
            full = look(folder, server)
            if server.s3_server == "versitygw" and time.monotonic() - tidied > TIDIED_S:
                Buckets(server.s3_access).tidy(datetime.now(UTC))
                tidied = time.monotonic()
        except EgoworldError as error:
            fault = str(error)
        if last != [fault, *full]:
            log.warning(json.dumps({"over quota": full, "fault": fault}))
            last = [fault, *full]
        seen = {"at": time.time(), "process": str(Identity.mine()), "full": full, "fault": fault}
        write_private(folder / SEEN, json.dumps(seen))
        time.sleep(every_s)

"""The part that keeps the inbox in bounds: who has used up a quota brings nothing more; what is old goes.

S3 servers bound buckets, not folders. So the folders are counted once a minute, old versions too, and an account whose
folder is over its quota loses the right to write until there is room again: what came within that minute stays.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from egoworld_resources.errors import EgoworldError
from egoworld_resources.leases.locks import write_private
from egoworld_resources.leases.processes import Identity
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.server.environment import EnvFile
from egoworld_resources.server.launch import Launch
from egoworld_resources.server.probes import Unhealthy
from egoworld_resources.server.uploaders import Uploaders, settle

log = logging.getLogger(__name__)

EVERY_S = 60.0
TIDIED_S = 3600.0
SILENT_S = 600.0
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


def look(folder: Path) -> list[str]:
    """Count the folders of the inbox and bound the accounts; names of those that are over their quota.

    Raises StoreRefused, StoreUnreachable, BadConfiguration.
    """
    server, uploaders = EnvFile(folder / ".env").load(), Uploaders(folder)
    files, size = Counter[str](), Counter[str]()
    known = uploaders.all()
    if any(one.gb or one.files for one in known.values()):
        for key, bytes_ in Buckets(server.s3_access).versions("inbox"):
            whose = key.partition("/")[0]
            files[whose] += 1
            size[whose] += bytes_
    full = [one.name for one in known.values() if one.over(files[one.name], size[one.name])]
    if uploaders.note_full(full):
        settle(folder, server)
    return full


def watch(folder: Path) -> None:
    """Look once a minute until a signal; versitygw, which has no lifecycles, is tidied once an hour."""
    tidied, last = 0.0, [""]
    while True:
        full, fault = list[str](), ""
        try:
            full = look(folder)
            server = EnvFile(folder / ".env").load()
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
        time.sleep(EVERY_S)

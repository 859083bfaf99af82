"""The S3 server: reachable, its clock near ours, the buckets there, and what the key in force may do."""

from __future__ import annotations

import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from egoworld_resources.doctor import server
from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.doctor.places import TRACE
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.opening import in_s3
from egoworld_resources.s3.access import BUCKETS, S3Access

CLOCK_NEAR_S, CLOCK_FAR_S = 60.0, 900.0
"""S3 refuses requests that were signed more than a quarter of an hour away from its own time."""
SET_CLOCK = "let both machines keep time: sudo timedatectl set-ntp true"


@check("S3")
def s3(subject: Subject) -> Iterator[Finding]:
    """Asked with the key that this configuration works with; when it has none with that of the server's pipeline."""
    try:
        access = in_force(subject)
    except BadConfiguration as error:
        yield fault("settings", str(error), "correct S3_* in the environment")
        return
    if access is None:
        yield not_needed("server", "artifacts lie in a folder, and no server was set up here")
        return
    from egoworld_resources.doctor.s3_requests import asked, kept, listed, patient  # boto3, where there is an S3 server

    client = patient(access, subject.patience_s)
    try:
        yield reached(access, subject.patience_s)
    except OSError as error:
        say = fault if in_s3(subject.settings) else warning
        fix = "check S3_ENDPOINT, and that the server runs: make ps"
        yield say("server", f"{access.endpoint} does not answer: {error}", fix)
        return
    owner = server.settings(subject)
    if owner and owner.s3_accounts and access.access_key.get_secret_value() == owner.s3_access_key:
        fix = "work in the server's environment: python -m egoworld_resources.server env COMMAND"
        yield warning("key", "it is the owner's, which may do everything", fix)
    for which in BUCKETS:
        bucket = access.bucket(which)
        yield asked(f"bucket {bucket}", "is there and can be listed", lambda b=bucket: listed(client, b))
    artifacts, key = access.bucket("artifacts"), f"{TRACE}{secrets.token_hex(4)}"
    yield asked(
        f"bucket {artifacts}: objects", "can be written, read and removed", lambda: kept(client, artifacts, key)
    )


def in_force(subject: Subject) -> S3Access | None:
    """How S3 is reached by this configuration, or by the server of this home; raises BadConfiguration."""
    if in_s3(subject.settings):
        return S3Access.load()
    settings = server.settings(subject)
    return settings.s3_as("pipeline") if settings else None


def reached(access: S3Access, seconds: float) -> Finding:
    """That somebody answers there, and how far its clock is from ours; raises OSError."""
    try:
        with urllib.request.urlopen(access.endpoint, timeout=seconds) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        headers = error.headers  # who asks without a key is refused, by a server that runs
    date = headers.get("Date")
    if date is None:
        return ok("server", f"{access.endpoint} answers, and tells no time")
    apart = abs(parsedate_to_datetime(date).timestamp() - time.time())
    found = f"{access.endpoint} answers, its clock is {apart:.0f} s from ours"
    if apart >= CLOCK_FAR_S:
        return fault("server", f"{found}: it refuses what we sign", SET_CLOCK)
    return warning("server", found, SET_CLOCK) if apart >= CLOCK_NEAR_S else ok("server", found)

"""Accounts of our own S3 server, one a role: its key allows what that role needs and nothing else.

MinIO takes accounts and policies as a zip of JSON (the admin call behind ``mc admin cluster iam import``, the one that
needs no encryption of its own); versitygw takes accounts one by one, and what they may do as policies of the buckets.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.httpsession import URLLib3Session

from egoworld_resources.errors import StoreRefused, StoreUnreachable
from egoworld_resources.leases.locks import write_private
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import Buckets, client, named_faults, rights, role_policy

SECONDS = 20


def keep(server: str, owner: S3Access, accounts: Mapping[str, S3Access], mark: Path) -> None:
    """See to it that the accounts exist with these keys and today's rights; what is so already is left alone.

    mark: a file that remembers what was made last, as a digest. Raises StoreRefused, StoreUnreachable.
    """
    digest = _digest(server, accounts)
    made = mark.read_text(encoding="ascii") if mark.is_file() else ""
    if made == digest and all(taken(access, who) for who, access in accounts.items()):
        return
    make(server, owner, accounts)
    write_private(mark, digest)


def make(server: str, owner: S3Access, accounts: Mapping[str, S3Access]) -> None:
    """Make the accounts, or give those that are there these keys and rights."""
    if server == "minio":
        _minio(owner, accounts)
    else:
        _versitygw(owner, accounts)


def taken(access: S3Access, who: str) -> bool:
    """Whether the server takes a key, and lets it ask for the place of a bucket of its role's."""
    try:
        with named_faults(f"key of {who}"):
            client(access, access.endpoint).get_bucket_location(Bucket=access.bucket(rights(who)[0].bucket))
    except StoreRefused:
        return False
    return True


def asked(owner: S3Access, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """A signed call of a server's administration: status and answer. Raises StoreUnreachable."""
    try:
        answer = URLLib3Session(timeout=SECONDS).send(signed(owner, method, path, body))
    except (BotoCoreError, HTTPClientError) as error:
        raise StoreUnreachable(f"{owner.endpoint}{path.partition('?')[0]}: {error}") from None
    return answer.status_code, answer.content


def signed(access: S3Access, method: str, path: str, body: bytes = b"") -> AWSPreparedRequest:
    """A request with its signature."""
    request = AWSRequest(method=method, url=access.endpoint + path, data=body)
    keys = Credentials(access.access_key.get_secret_value(), access.secret_key.get_secret_value())
    S3SigV4Auth(keys, "s3", access.region).add_auth(request)
    return request.prepare()


def _minio(owner: S3Access, accounts: Mapping[str, S3Access]) -> None:
    names = {who: access.access_key.get_secret_value() for who, access in accounts.items()}
    files = {
        "policies": {names[who]: role_policy(owner, who) for who in accounts},
        "users": {
            names[who]: {"secretKey": access.secret_key.get_secret_value(), "status": "enabled"}
            for who, access in accounts.items()
        },
        "user_mappings": {name: {"version": 1, "policy": name} for name in names.values()},
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, contents in files.items():
            archive.writestr(f"iam-assets/{name}.json", json.dumps(contents))
    status, said = asked(owner, "PUT", "/minio/admin/v3/import-iam-v2", packed.getvalue())
    failed = json.loads(said or b"{}").get("failed", {}) if status == 200 else {}
    if status != 200 or any(failed.values()):
        raise StoreRefused(f"MinIO does not make the accounts of the roles: status {status}, {_words(said)}")


def _versitygw(owner: S3Access, accounts: Mapping[str, S3Access]) -> None:
    for access in accounts.values():
        name, secret = access.access_key.get_secret_value(), escape(access.secret_key.get_secret_value())
        made = f"<Account><Access>{escape(name)}</Access><Secret>{secret}</Secret><Role>user</Role></Account>"
        changed = f"<MutableProps><Secret>{secret}</Secret><Role>user</Role></MutableProps>"
        status, said = asked(owner, "PATCH", "/create-user", made.encode())
        if status == 409:
            status, said = asked(owner, "PATCH", f"/update-user?access={quote(name)}", changed.encode())
        if status not in (200, 201):
            raise StoreRefused(f"versitygw does not make the account {name}: status {status}, {_words(said)}")
    Buckets(owner).allow({who: [access.access_key.get_secret_value()] for who, access in accounts.items()})


def end(server: str, owner: S3Access, access: S3Access, others: Mapping[str, S3Access]) -> None:
    """Take an account away; the others stay. Raises StoreRefused, StoreUnreachable."""
    name = quote(access.access_key.get_secret_value())
    if server == "minio":
        status, said = asked(owner, "DELETE", f"/minio/admin/v3/remove-user?accessKey={name}")
    else:
        make(server, owner, others)  # its policies name no account that is gone
        status, said = asked(owner, "PATCH", f"/delete-user?access={name}")
    if status not in (200, 204, 404):
        raise StoreRefused(f"{server} does not end the account {name}: status {status}, {_words(said)}")


def _digest(server: str, accounts: Mapping[str, S3Access]) -> str:
    """Changes with the server, the keys, and what a role may do."""
    facts = [
        [
            who,
            access.access_key.get_secret_value(),
            hashlib.sha256(access.secret_key.get_secret_value().encode()).hexdigest(),
            role_policy(access, who),
        ]
        for who, access in accounts.items()
    ]
    return hashlib.sha256(json.dumps([server, facts]).encode()).hexdigest()


def _words(said: bytes) -> str:
    return " ".join(said.decode(errors="replace").split())[:500] or "it said nothing"

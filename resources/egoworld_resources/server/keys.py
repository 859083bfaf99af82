"""What somebody needs who is given a role on the S3 server of ours; the secret itself only when it is asked for."""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.s3.access import BUCKETS, UPLOADER
from egoworld_resources.s3.buckets import rights
from egoworld_resources.server.environment import EnvFile
from egoworld_resources.server.proxy import ROOT_CERTIFICATE
from egoworld_resources.server.uploaders import Uploaders


def key_of(role: str, env_file: EnvFile, proxy: Path, *, secret: bool) -> list[str]:
    """Lines for an .env file or a shell; comments say the buckets, the certificate, and where the secret stands.

    proxy: the folder of the proxy's state. Raises UnknownName, BadConfiguration.
    """
    server, uploaders = env_file.load(), Uploaders(env_file.path.parent)
    named = {name: one.access(server.s3_access) for name, one in uploaders.all().items()}
    accounts = server.s3_accounts and server.s3_accounts | named
    if not accounts:
        raise BadConfiguration(
            "S3_SERVER=none: keys are made on that server; `egoworld buckets --keys ROLE` gives some for hours"
        )
    if role not in accounts:
        raise UnknownName("role", role, accounts)
    access = accounts[role]
    given = {right.bucket: right for right in rights(role if role in server.s3_accounts else f"{UPLOADER}/{role}")}
    buckets = [access.bucket(which) for which in BUCKETS if which in given]
    only = [f"{access.bucket(right.bucket)}/{right.below[0]}" for right in given.values() if right.only]
    lines = [f"# the {role}'s buckets: {', '.join(buckets)}{f'; there only below {only[0]}' if only else ''}"]
    if server.proxy_tls == "internal":
        lines += [f"# the server's certificate is signed by {proxy / ROOT_CERTIFICATE}"]
    lines += [f"S3_ENDPOINT={access.public_endpoint}", f"S3_ACCESS_KEY={access.access_key.get_secret_value()}"]
    if secret:
        lines += [f"S3_SECRET_KEY={access.secret_key.get_secret_value()}"]
    else:
        own = f"S3_{role.upper()}_SECRET_KEY of {env_file.path}" if role in server.s3_accounts else uploaders.path
        lines += [f"# S3_SECRET_KEY is {'' if role in server.s3_accounts else 'in '}{own}; --secret shows it"]
    return [*lines, f"S3_BUCKET_NAME={access.bucket_name}"]

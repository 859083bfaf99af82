"""What somebody needs who is given a role on the S3 server of ours; the secret itself only when it is asked for."""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.production.environment import EnvFile
from egoworld_resources.production.proxy import ROOT_CERTIFICATE
from egoworld_resources.s3_access import BUCKETS
from egoworld_resources.s3_buckets import RIGHTS


def key_of(role: str, env_file: EnvFile, proxy: Path, *, secret: bool) -> list[str]:
    """Lines for an .env file or a shell; comments say the buckets, the certificate, and where the secret stands.

    proxy: the folder of the proxy's state. Raises UnknownName, BadConfiguration.
    """
    server = env_file.load()
    accounts = {str(name): access for name, access in server.s3_accounts.items()}
    if not accounts:
        raise BadConfiguration(
            "S3_SERVER=none: keys are made on that server; `egoworld buckets --keys ROLE` gives some for hours"
        )
    if role not in accounts:
        raise UnknownName("role", role, accounts)
    access = accounts[role]
    rights = {right.bucket: right for name, given in RIGHTS.items() if name == role for right in given}
    lines = [f"# the {role}'s buckets: {', '.join(access.bucket(which) for which in BUCKETS if which in rights)}"]
    if server.proxy_tls == "internal":
        lines += [f"# the server's certificate is signed by {proxy / ROOT_CERTIFICATE}"]
    lines += [f"S3_ENDPOINT={access.public_endpoint}", f"S3_ACCESS_KEY={access.access_key.get_secret_value()}"]
    if secret:
        lines += [f"S3_SECRET_KEY={access.secret_key.get_secret_value()}"]
    else:
        lines += [f"# S3_SECRET_KEY is S3_{role.upper()}_SECRET_KEY of {env_file.path}; --secret shows it"]
    return [*lines, f"S3_BUCKET_NAME={access.bucket_name}"]

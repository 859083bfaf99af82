"""How to reach the S3 server: endpoint, keys and bucket names, from the environment (S3_*) alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from egoworld_resources.errors import BadConfiguration, BucketMissing, StoreRefused, StoreUnreachable

Bucket = Literal["inbox", "artifacts", "weights"]
BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
Role = Literal["uploader", "reader", "pipeline"]
ROLES: tuple[Role, ...] = get_args(Role)
UPLOADER = "uploader"
"""The role, and the uploader whose account every server has: its folder in the inbox has this name too."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,50}")
SAID = re.compile(r"<Code>([^<]*)</Code>(?:.*?<Message>([^<]*)</Message>)?", re.DOTALL)


class S3Access(BaseSettings):
    """The S3 server. Keys are never shown: not by repr, not in an error, not in a manifest."""

    model_config = SettingsConfigDict(env_prefix="S3_", frozen=True, hide_input_in_errors=True)

    endpoint: str = Field(description="URL of the server, such as http://127.0.0.1:9000.")
    public_endpoint: str = Field("", description="The same server as browsers reach it; default the endpoint.")
    access_key: SecretStr = Field(description="Access key id.")
    secret_key: SecretStr = Field(description="Secret access key.")
    session_token: SecretStr | None = Field(None, description="Token that belongs to temporary keys.")
    bucket_name: str = Field("", description="Prefix of the three buckets: <name>-inbox, ...; empty for plain names.")
    region: str = Field("us-east-1", description="Region that requests are signed for.")

    @classmethod
    def load(cls) -> S3Access:
        """Read S3_*. Raises BadConfiguration that names the variable and what is wrong, never its value."""
        try:
            access = cls()  # pyright: ignore[reportCallIssue] its fields come from the environment
        except ValidationError as error:
            wrong = "; ".join(f"S3_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
            raise BadConfiguration(f"the S3 settings are wrong: {wrong}") from None
        for name, url in (("S3_ENDPOINT", access.endpoint), ("S3_PUBLIC_ENDPOINT", access.public_endpoint)):
            parts = urlsplit(url)
            if url and (parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc):
                raise BadConfiguration(f"{name} must be http(s)://HOST[:PORT] without a user; keys go into S3_*_KEY")
        if access.bucket_name and not NAME.fullmatch(access.bucket_name):
            raise BadConfiguration("S3_BUCKET_NAME must be 2 to 51 of a-z, 0-9 and -, as bucket names are")
        return access

    def bucket(self, which: Bucket) -> str:
        """The name of a bucket on the server."""
        return f"{self.bucket_name}-{which}" if self.bucket_name else which


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    """Turn what the S3 library raises into our errors, without the request's headers and signatures.

    A missing object stays FileNotFoundError; a missing bucket is BucketMissing.
    """
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise BucketMissing(f"{what}: the bucket does not exist; `egoworld buckets` makes it") from None
        raise FileNotFoundError(f"{what}: {message_of(error)}") from None
    except BaseError as error:
        denied = any(word in str(error) for word in ("403 Forbidden", "AccessDenied"))  # lists and removals
        if denied or isinstance(error, PermissionDeniedError | UnauthenticatedError):
            fix = "check S3_ACCESS_KEY, S3_SECRET_KEY and the key's policy"
            raise StoreRefused(f"{what}: {message_of(error)}; {fix}") from None
        raise StoreUnreachable(f"{what}: {message_of(error)}; check S3_ENDPOINT and that the server runs") from None


def message_of(error: Exception) -> str:
    """What the server answered, or the first line of the library's own words."""
    answer = SAID.search(str(error))
    if answer:
        return ": ".join(part for part in answer.groups() if part)
    return str(error).partition("\n")[0][:300]

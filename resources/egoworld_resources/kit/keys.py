"""The key that signs kits: Ed25519, in a file that only its owner reads; recipients of a kit get its fingerprint."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.kit.receiver.signature import fingerprint


def make_key(file: Path) -> str:
    """Write a new private key (PEM, mode 0600) and its public one beside it (.pub); returns the fingerprint.

    Raises BadConfiguration when the file is there: a key that is lost makes every receiver trust a new one.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BadConfiguration(f"{file} is there already; name another file, or use that key") from error
    with os.fdopen(descriptor, "wb") as content:
        content.write(private)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    file.with_name(f"{file.name}.pub").write_bytes(public)
    return fingerprint(_raw(key))


def read_key(file: Path) -> Ed25519PrivateKey:
    """Raises BadConfiguration when it is missing, no Ed25519 key, or open to others."""
    try:
        content, mode = file.read_bytes(), file.stat().st_mode
    except OSError as error:
        raise BadConfiguration(
            f"the key {file} cannot be read: {error.strerror}; make one: egoworld kit key"
        ) from error
    if mode & 0o077:
        raise BadConfiguration(f"the key {file} can be read by others; fix it with: chmod 600 {file}")
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadConfiguration(f"{file} is not a private key: {error}; make one: egoworld kit key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadConfiguration(f"{file} is no Ed25519 key; make one: egoworld kit key")
    return key


def sign(key: Ed25519PrivateKey, manifest: bytes) -> bytes:
    """kit.sig.json: the public key and its signature of the manifest, both in base64."""
    signed = {"key": _text(_raw(key)), "signature": _text(key.sign(manifest))}
    return (json.dumps(signed, indent=1) + "\n").encode()


def fingerprint_of(key: Ed25519PrivateKey) -> str:
    return fingerprint(_raw(key))


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()

"""Ed25519 signatures (RFC 8032), checked by the libcrypto that Python is linked to: nothing else is there yet."""

from __future__ import annotations

import base64
import binascii
import ctypes
import ctypes.util
import hashlib
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from egoworld_resources.kit.receiver.refused import KitRefused

EVP_PKEY_ED25519 = 1087
KEY_BYTES, SIGNATURE_BYTES = 32, 64
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""DER of a public Ed25519 key before its 32 bytes: RFC 8410."""
NEEDED = (
    "EVP_PKEY_new_raw_public_key", "EVP_PKEY_free", "EVP_MD_CTX_new", "EVP_MD_CTX_free", "EVP_DigestVerifyInit",
    "EVP_DigestVerify",
)  # fmt: skip


def fingerprint(public: bytes) -> str:
    """What two people compare: "SHA256:" and the base64 of the key's digest, as ssh shows it. public: 32 bytes."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(SPKI_PREFIX + public).digest()).decode().rstrip("=")


def wanted_fingerprint(key: str) -> str:
    """From a fingerprint, or from a file with one or with a public key in PEM; raises KitRefused."""
    text = key.strip()
    if not text.startswith("SHA256:"):
        try:
            text = Path(key).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KitRefused(f"'{key}' is neither a fingerprint (SHA256:...) nor a readable file: {error}") from error
    if "BEGIN PUBLIC KEY" in text:
        der = base64.b64decode("".join(line for line in text.splitlines() if "KEY" not in line))
        if not der.startswith(SPKI_PREFIX) or len(der) != len(SPKI_PREFIX) + KEY_BYTES:
            raise KitRefused(f"{key} is not a public Ed25519 key")
        return fingerprint(der[len(SPKI_PREFIX) :])
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text):
        raise KitRefused(f"'{text[:80]}' is not a fingerprint: SHA256: and 43 letters are needed")
    return text


def check(manifest: bytes, signature: bytes, wanted: str, where: str) -> None:
    """Raise KitRefused unless ``signature`` (kit.sig.json) signs ``manifest`` by the key of this fingerprint."""
    try:
        document = cast("dict[str, Any]", json.loads(signature))
        public = base64.b64decode(document["key"], validate=True)
        signed = base64.b64decode(document["signature"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise KitRefused(f"{where} is not the signature of a kit: {error}") from error
    if len(public) != KEY_BYTES or len(signed) != SIGNATURE_BYTES:
        raise KitRefused(f"{where}: key or signature has the wrong length")
    if fingerprint(public) != wanted:
        raise KitRefused(
            f"{where}: the kit is signed by the key {fingerprint(public)}, not by {wanted}; ask the maker of the kit, "
            "on another way than the kit came"
        )
    if not verified(public, signed, manifest):
        raise KitRefused(f"{where}: the manifest was changed after it was signed; get the kit again")


def verified(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` (64 bytes) is one of ``message`` by the key ``public`` (32 bytes)."""
    crypto = _libcrypto()
    key = crypto.EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, None, public, ctypes.c_size_t(len(public)))
    context = crypto.EVP_MD_CTX_new()
    try:
        ready = bool(key and context) and crypto.EVP_DigestVerifyInit(context, None, None, None, key) == 1
        sizes = ctypes.c_size_t(len(signature)), ctypes.c_size_t(len(message))
        return ready and crypto.EVP_DigestVerify(context, signature, sizes[0], message, sizes[1]) == 1
    finally:
        crypto.EVP_MD_CTX_free(context)
        crypto.EVP_PKEY_free(key)


def _libcrypto() -> Any:
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        if all(hasattr(library, function) for function in NEEDED):
            return _typed(library)
    raise KitRefused(
        "this Python has no libcrypto of OpenSSL 1.1.1 or newer, so no signature can be checked; "
        "use Debian's python3, or the interpreter of the kit: sh install.sh"
    )


def _candidates() -> Iterator[str]:
    module = getattr(importlib.import_module("_hashlib"), "__file__", None)
    if module:
        yield module  # what it is linked to is searched with it
    found = ctypes.util.find_library("crypto")
    if found:
        yield found


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer = ctypes.c_void_p
    library.EVP_PKEY_new_raw_public_key.restype = pointer
    library.EVP_PKEY_new_raw_public_key.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
    library.EVP_MD_CTX_new.restype = pointer
    library.EVP_DigestVerifyInit.argtypes = [pointer] * 5
    library.EVP_DigestVerify.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.EVP_MD_CTX_free.argtypes = [pointer]
    library.EVP_PKEY_free.argtypes = [pointer]
    return library

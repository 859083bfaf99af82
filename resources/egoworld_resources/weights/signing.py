"""Signatures of models in the format of OpenSSF's model signing, made of the digests that the manifest holds.

A signature is a Sigstore bundle: a DSSE envelope around an in-toto statement that names every file with its sha256,
signed with a key of the curve P-256, P-384 or P-521. Sources: https://github.com/sigstore/model-transparency,
https://github.com/secure-systems-lab/dsse, https://docs.sigstore.dev/about/bundle.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.weights.errors import WeightsRefused
from egoworld_resources.weights.manifest import LARGEST_MANIFEST, MANIFEST, SIGNATURE, ModelManifest
from egoworld_resources.weights.repository import Model
from egoworld_resources.weights.staging import staging
from egoworld_resources.weights.verify import verify

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
NOT_SIGNED = (".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)
"""Names directly in a model's folder that the format leaves out; our manifest, which is signed, has their digests."""

HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
MAKE_A_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub"


def sign(model: Model, key_file: Path, home: Path) -> Path:
    """Sign a model that is whole by names and sizes; no byte of it is read. Returns the signature's file.

    Raises WeightsRefused for a model that is not whole, BadConfiguration for a key that cannot be used, LockBusy.
    """
    manifest = model.manifest
    if manifest is None:
        raise WeightsRefused(f"{model.name} cannot be signed: {model.fault}")
    if faults := verify(model.folder, manifest, quick=True):
        raise WeightsRefused(f"{model.name} is not signed, it is not whole:\n  " + "\n  ".join(map(str, faults)))
    key = _private(key_file)
    with staging(home, model.name, "sign") as place:
        if (model.folder / MANIFEST).read_bytes() != manifest.text().encode():
            place.rewrite(manifest)
        place.put(SIGNATURE, _bundle(_statement(manifest), key))
    return model.folder / SIGNATURE


def fault_of_signature(model: Model, key_file: Path) -> str:
    """Why the signature in a model's folder does not vouch for its manifest; empty when it does.

    Every digest of the manifest is compared with what was signed, not with the bytes: ``verify`` does that.
    Raises BadConfiguration for a key that cannot be used.
    """
    key = _public(key_file)
    file = model.folder / SIGNATURE
    if model.manifest is None:
        return model.fault
    if file.is_symlink() or not file.is_file():
        return f"there is no {SIGNATURE}: egoworld weights sign {model.name} --private-key KEY"
    if file.stat().st_size > 2 * LARGEST_MANIFEST:
        return f"{file} is larger than a signature can be"
    try:
        signed = _signed(json.loads(file.read_bytes()), key)
    except InvalidSignature:
        return f"{SIGNATURE} was not made with the key of {key_file}, or was changed since"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return f"{SIGNATURE} is no signature of a model: {error!r}"
    ours = _resources(model.manifest, sha256((model.folder / MANIFEST).read_bytes()).hexdigest())
    if signed == ours:
        return ""
    differing = min(path for path in {*signed, *ours} if signed.get(path) != ours.get(path))
    return f"{SIGNATURE} is of other files: {differing!r} differs; sign it again if the change is yours"


def _resources(manifest: ModelManifest, own: str) -> dict[str, str]:
    """SHA-256 by path of all that is signed. own: that of the manifest's file."""
    files = {file.path: file.sha256 for file in manifest.files() if file.path.split("/")[0] not in NOT_SIGNED}
    return {**files, MANIFEST: own}


def _statement(manifest: ModelManifest) -> bytes:
    found = _resources(manifest, sha256(manifest.text().encode()).hexdigest())
    in_order = sorted(found.items(), key=lambda item: item[0].split("/"))
    root = sha256(b"".join(bytes.fromhex(digest) for _, digest in in_order)).hexdigest()
    serialized = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [*NOT_SIGNED]}
    resources = [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in in_order]
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": manifest.model, "digest": {"sha256": root}}],
        "predicateType": PREDICATE,
        "predicate": {"serialization": serialized, "resources": resources},
    }
    return json.dumps(statement, indent=2).encode()


def _bundle(statement: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    signature = key.sign(_enveloped(statement), ec.ECDSA(HASHES[key.curve.name]))
    return json.dumps(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": _hint(key.public_key())}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": b64encode(statement).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": b64encode(signature).decode(), "keyid": ""}],
            },
        }
    ).encode()


def _signed(bundle: Mapping[str, Any], key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """SHA-256 by path of what a bundle vouches for. Raises InvalidSignature, ValueError, and errors of odd JSON."""
    envelope = bundle["dsseEnvelope"]
    if bundle["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE:
        raise ValueError("it is of another type")
    payload = b64decode(envelope["payload"], validate=True)
    signature = b64decode(envelope["signatures"][0]["sig"], validate=True)
    key.verify(signature, _enveloped(payload), ec.ECDSA(HASHES[key.curve.name]))
    statement = json.loads(payload)
    predicate = statement["predicate"]
    if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
        raise ValueError("its statement is of another type")
    if (predicate["serialization"]["method"], predicate["serialization"]["hash_type"]) != ("files", "sha256"):
        raise ValueError("it does not name the sha256 of files")
    resources = predicate["resources"]
    root = sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    if root != statement["subject"][0]["digest"]["sha256"] or {one["algorithm"] for one in resources} != {"sha256"}:
        raise ValueError("its digests contradict each other")
    return {one["name"]: one["digest"] for one in resources}


def _enveloped(payload: bytes) -> bytes:
    """What is signed: DSSE's encoding of a payload together with its type."""
    return b" ".join([f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)}".encode(), payload])


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(pem).hexdigest()


def _private(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        open_to_others = file.stat().st_mode & 0o077
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadConfiguration(f"{file} is no private key that can be read ({error}); {MAKE_A_KEY}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise BadConfiguration(f"{file} is no key of the curve P-256, P-384 or P-521; {MAKE_A_KEY}")
    if open_to_others:
        raise BadConfiguration(f"the key {file} can be read by others; fix it with: chmod 600 {file}")
    return key


def _public(file: Path) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise BadConfiguration(f"{file} is no public key that can be read ({error})") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise BadConfiguration(f"{file} is no key of the curve P-256, P-384 or P-521")
    return key

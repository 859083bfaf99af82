"""`egoworld weights sign` and `verify --signature`: OpenSSF's own client verifies our signatures, and we its."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.weights.manifest import MANIFEST, SIGNATURE
from tests.made_models import FILES, write_files, write_model

pytestmark = pytest.mark.env

CURVES = {"p256": ec.SECP256R1(), "p521": ec.SECP521R1()}


def write_key(folder: Path, name: str, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    """A private key with its public one beside it."""
    file = folder / f"{name}.pem"
    file.touch(0o600)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    file.with_suffix(".pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    return file


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the model home in force; like those of hubs it has a file of git's."""
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "models"))
    monkeypatch.setenv("EGOWORLD_HOME", str(tmp_path / "data"))
    write_model(tmp_path / "models" / "tiny", {**FILES, ".gitattributes": b"*.safetensors filter=lfs", "a.b/c": b"1"})
    return tmp_path / "models" / "tiny"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key; the public one is beside it."""
    return write_key(tmp_path, "key", ec.generate_private_key(CURVES["p256"]))


def weights(*arguments: str | Path) -> Result:
    """`egoworld weights` with these arguments."""
    return CliRunner().invoke(app, ["weights", *map(str, arguments)])


def stock(builder: EnvBuilder, verb: str, model: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """The command that comes with `model_signing`."""
    program = builder.ensure("model_signing").python.with_name("model_signing")
    command = [program, verb, "key", *options, "--signature", model / SIGNATURE, model]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("curve", CURVES)
def test_the_stock_client_verifies_ours(model: Path, tmp_path: Path, builder: EnvBuilder, curve: str) -> None:
    key = write_key(tmp_path, curve, ec.generate_private_key(CURVES[curve]))
    signed = weights("sign", "tiny", "--private-key", key)
    assert signed.exit_code == 0, signed.output
    public = ("--public_key", key.with_suffix(".pub"))
    found = stock(builder, "verify", model, *public)
    assert found.returncode == 0, found.stdout + found.stderr


def test_we_verify_those_of_the_stock_client(model: Path, key: Path, builder: EnvBuilder) -> None:
    made = stock(builder, "sign", model, "--private_key", key)
    assert made.returncode == 0, made.stdout + made.stderr
    assert weights("verify", "tiny", "--signature", key.with_suffix(".pub")).exit_code == 0


def test_a_signature_vouches_for_each_digest_and_the_manifest(model: Path, key: Path, tmp_path: Path) -> None:
    public = key.with_suffix(".pub")
    assert f"there is no {SIGNATURE}" in weights("verify", "--signature", public).stdout
    assert weights("sign", "tiny", "--private-key", key).exit_code == 0
    assert weights("verify", "--signature", public).exit_code == 0
    other = write_key(tmp_path, "other", ec.generate_private_key(CURVES["p256"])).with_suffix(".pub")
    assert "was not made with the key" in weights("verify", "--signature", other).stdout
    manifest = (model / MANIFEST).read_text()
    (model / MANIFEST).write_text(manifest.replace("Apache-2.0", "MIT"))
    changed = weights("verify", "--signature", public)
    assert changed.exit_code == 1
    assert f"{SIGNATURE} is of other files: '{MANIFEST}' differs" in changed.stdout
    (model / MANIFEST).write_text(manifest)
    (model / SIGNATURE).write_text("{}")
    assert "is no signature of a model" in weights("verify", "--signature", public).stdout


def test_an_import_brings_the_signature_along(model: Path, key: Path, tmp_path: Path) -> None:
    weights("sign", "tiny", "--private-key", key)
    model.rename(tmp_path / "tiny")
    assert weights("import", tmp_path / "tiny").exit_code == 0
    assert weights("verify", "--signature", key.with_suffix(".pub")).exit_code == 0
    assert weights("import", tmp_path / "tiny", "--name", "second").exit_code == 0
    assert not (model.with_name("second") / SIGNATURE).exists()


def test_keys_and_models_that_cannot_be_used_are_named(model: Path, key: Path, tmp_path: Path) -> None:
    kit = write_key(tmp_path, "kit", ed25519.Ed25519PrivateKey.generate())
    assert "no key of the curve P-256, P-384 or P-521; openssl" in weights("sign", "tiny", "--private-key", kit).stderr
    assert "cannot be read" not in weights("sign", "tiny", "--private-key", key).stderr
    key.chmod(0o644)
    assert f"chmod 600 {key}" in weights("sign", "tiny", "--private-key", key).stderr
    key.chmod(0o600)
    (model / "vae" / "empty.txt").unlink()
    assert "missing: vae/empty.txt" in weights("sign", "tiny", "--private-key", key).stderr


def test_no_byte_of_a_large_model_is_read(model: Path, key: Path, tmp_path: Path) -> None:
    """200 GB of holes, which nobody reads in the time of a test, and a digest that is not theirs."""
    folder = tmp_path / "models" / "large"
    write_files(folder, {"config.json": b"{}"})
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(200 * 10**9)
    document = json.loads((model / MANIFEST).read_text()) | {"model": "large"}
    files = [("config.json", 2, "json"), ("model.safetensors", 200 * 10**9, "safetensors")]
    document["parts"][0]["files"] = [
        {"path": path, "bytes": size, "sha256": "0" * 64, "format": kind} for path, size, kind in files
    ]
    (folder / MANIFEST).write_text(json.dumps(document))
    assert weights("sign", "large", "--private-key", key).exit_code == 0
    assert weights("verify", "large", "--quick", "--signature", key.with_suffix(".pub")).exit_code == 0

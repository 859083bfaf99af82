"""`egoworld weights download` by the real clients of both hubs, from a hub on this machine that fails in every way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.weights.manifest import ModelManifest
from tests.made_hub import COMMIT, REPO, MadeHub, serving
from tests.made_models import FILES

pytestmark = pytest.mark.env

LARGE = "model-00001-of-00002.safetensors"
HUBS = ["huggingface", "modelscope"]
TOKEN = "secret-of-the-hub"


@pytest.fixture(params=HUBS)
def hub_name(request: pytest.FixtureRequest, builder: EnvBuilder) -> str:
    """A hub whose client is built."""
    builder.ensure(request.param)
    return request.param


@pytest.fixture
def hub() -> MadeHub:
    """What the hub holds; each test says how it fails."""
    return MadeHub(FILES)


@pytest.fixture
def home(hub: MadeHub, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The model home, while the hub answers under both of its names."""
    monkeypatch.setenv("EGOWORLD_HOME", str(repository / "data"))
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "models"))
    for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN"):
        monkeypatch.setenv(name, TOKEN)
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", address)
        yield tmp_path / "models"


def download(hub: str, *options: str) -> Result:
    """`egoworld weights download` of the repository at its commit."""
    command = ["weights", "download", f"{hub}:{REPO}", "--revision", COMMIT, "--stall-s", "3", *options]
    return CliRunner().invoke(app, command)


def is_whole(home: Path) -> bool:
    """Whether the model is there with every byte, and says so."""
    data = {path: (home / "tiny" / path).read_bytes() for path in FILES}
    return data == FILES and CliRunner().invoke(app, ["weights", "verify", "tiny"]).exit_code == 0


def test_a_model_is_fetched_recorded_and_not_fetched_again(hub: MadeHub, hub_name: str, home: Path) -> None:
    result = download(hub_name)
    assert result.exit_code == 0, result.output
    assert is_whole(home)
    (part,) = ModelManifest.read(home / "tiny").parts
    assert (part.source, part.revision, part.licence) == (f"{hub_name}:{REPO}", COMMIT, "Apache-2.0")
    sent = dict(hub.bytes_sent)
    assert download(hub_name).exit_code == 0
    assert dict(hub.bytes_sent) == sent
    assert list((home / ".incoming").glob("tiny-*")) == []


def test_dropped_connections_are_resumed(hub: MadeHub, hub_name: str, home: Path) -> None:
    hub.drop_after[LARGE] = 1_100_000
    hub.drops[LARGE] = 2
    assert download(hub_name).exit_code == 0
    assert is_whole(home)
    assert hub.bytes_sent[LARGE] < len(FILES[LARGE]) + 2_500_000


@pytest.mark.parametrize(
    ("hub_name", "path"),
    [("huggingface", LARGE), ("huggingface", "config.json"), ("modelscope", LARGE)],
    indirect=["hub_name"],
)
def test_a_flipped_byte_of_the_right_size_is_never_accepted(hub: MadeHub, hub_name: str, home: Path, path: str) -> None:
    data = bytearray(FILES[path])
    data[len(data) // 2] ^= 1
    hub.sent[path] = bytes(data)
    result = download(hub_name)
    assert result.exit_code == 1
    assert path in result.stderr
    assert not (home / "tiny").exists()
    assert not any(file.read_bytes() == data for file in home.rglob("*") if file.is_file())
    del hub.sent[path]
    assert download(hub_name).exit_code == 0
    assert is_whole(home)


@pytest.mark.parametrize("change", [-1000, 500_000])
def test_a_hub_that_lies_about_a_size_is_refused(hub: MadeHub, hub_name: str, home: Path, change: int) -> None:
    data = FILES[LARGE]
    hub.sent[LARGE] = data[:change] if change < 0 else data + b"\0" * change
    result = download(hub_name)
    assert result.exit_code == 1
    assert LARGE in result.stderr or "sends more than" in result.stderr
    assert not (home / "tiny").exists()


def test_another_host_gives_bytes_and_gets_no_token(hub: MadeHub, hub_name: str, home: Path) -> None:
    other = MadeHub(FILES)
    with serving(other, "127.0.0.2") as address:
        hub.redirect_to = address
        assert download(hub_name).exit_code == 0
    assert is_whole(home)
    assert other.bytes_sent[LARGE] == len(FILES[LARGE])
    assert any(TOKEN in token for token in hub.tokens)
    assert not any(TOKEN in token for token in other.tokens)


def test_a_stalled_transfer_ends_with_the_reason_and_goes_on_later(hub: MadeHub, hub_name: str, home: Path) -> None:
    hub.stall_at[LARGE] = 2_200_000
    result = download(hub_name)
    assert result.exit_code == 1
    assert "1 of 4 files of lab/tiny did not arrive" in result.stderr
    assert "stalled: no byte came for 3 s" in result.stderr
    del hub.stall_at[LARGE]
    hub.bytes_sent.clear()
    assert download(hub_name).exit_code == 0
    assert is_whole(home)
    assert hub.bytes_sent[LARGE] < len(FILES[LARGE]) - 1_000_000


def test_a_killed_download_fetches_little_again(hub: MadeHub, hub_name: str, home: Path) -> None:
    hub.stall_at[LARGE] = 2_200_000
    command = ["egoworld_assets.cli.app", "weights", "download", f"{hub_name}:{REPO}", "--revision", COMMIT]
    program = "import sys; from egoworld_assets.cli.app import app; app(sys.argv[2:])"
    with subprocess.Popen([sys.executable, "-c", program, *command], env=dict(os.environ)) as running:
        while gathered(home) < 2 * 2**20:
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
    assert not (home / "tiny").exists()
    del hub.stall_at[LARGE]
    hub.over.set()
    hub.bytes_sent.clear()
    assert download(hub_name).exit_code == 0
    assert is_whole(home)
    assert hub.bytes_sent[LARGE] <= len(FILES[LARGE]) - 2 * 2**20


def gathered(home: Path) -> int:
    """Bytes of the largest file that is not whole yet."""
    return max((f.stat().st_size for f in home.glob(".incoming/tiny-*/parts/**/*") if f.is_file()), default=0)


def test_a_model_is_pinned_to_a_full_commit(hub_name: str, home: Path) -> None:
    result = CliRunner().invoke(app, ["weights", "download", f"{hub_name}:{REPO}"])
    assert result.exit_code == 1
    assert f"--revision, 40 hex digits; the newest is {COMMIT}" in result.stderr


def test_a_licence_that_the_hub_does_not_name_must_be_said(hub: MadeHub, hub_name: str, home: Path) -> None:
    hub.licence = "other"
    assert "--licence SPDX-ID" in download(hub_name).stderr
    assert download(hub_name, "--licence", "MIT", "--include", "*.json", "--name", "small").exit_code == 0
    manifest = ModelManifest.read(home / "small")
    assert ([file.path for file in manifest.files()], manifest.licences) == (["config.json"], ["MIT"])


def test_only_listed_sources_are_asked(hub: MadeHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGOWORLD_WEIGHTS_SOURCES", '["huggingface:facebook/*"]')
    assert "huggingface:facebook/*" in download("huggingface").stderr
    assert "unknown hub" not in download("huggingface").stderr
    assert hub.tokens == []


@pytest.mark.parametrize("path", ["../../evil", "/etc/evil", "a\x1b[2J"])
def test_a_hub_cannot_name_a_path_outside(hub: MadeHub, home: Path, path: str) -> None:
    hub.files = {path: b"evil"}
    result = download("huggingface")
    assert result.exit_code == 1
    assert "what it says of lab/tiny is not taken" in result.stderr
    assert [file for file in home.rglob("*evil*") if file.is_file()] == []


def discover(*arguments: str) -> Result:
    """`egoworld weights discover`."""
    return CliRunner().invoke(app, ["weights", "discover", *arguments, "--stall-s", "3"])


def test_a_model_is_looked_up_before_anything_large_is_fetched(hub: MadeHub, hub_name: str, home: Path) -> None:
    result = discover(f"{hub_name}:{REPO}", "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["found"]
    assert found["source"] == f"{hub_name}:{REPO}"
    assert (found["revision"], found["licence"], found["architecture"]) == (COMMIT, "Apache-2.0", "Tiny")
    assert found["formats"] == {"safetensors": sum(len(data) for path, data in FILES.items() if "model-" in path)}
    assert {file["path"]: file["bytes"] for file in found["files"]} == {path: len(FILES[path]) for path in FILES}
    assert set(hub.bytes_sent) == {"config.json"}
    assert not home.exists()


def test_modelscope_is_asked_first_and_the_next_hub_where_it_has_nothing(
    hub: MadeHub, home: Path, builder: EnvBuilder
) -> None:
    for name in HUBS:
        builder.ensure(name)
    first = discover(REPO).stdout
    assert f"egoworld weights download modelscope:{REPO} --revision {COMMIT}" in first
    assert "huggingface" not in first
    hub.absent_from.add("modelscope")
    hub.licence = "other"
    second = discover(REPO).stdout
    assert f"modelscope has no {REPO}" in second
    assert f"egoworld weights download huggingface:{REPO} --revision {COMMIT}" in second
    assert "the hub says other; then --licence" in second
    neither = discover(f"modelscope:{REPO}")
    assert neither.exit_code == 1
    assert f"modelscope has no {REPO}" in neither.stderr


def test_a_changed_configuration_names_no_architecture(hub: MadeHub, home: Path, builder: EnvBuilder) -> None:
    builder.ensure("huggingface")
    hub.sent["config.json"] = FILES["config.json"].replace(b"Tiny", b"Evil")
    (found,) = json.loads(discover(f"huggingface:{REPO}", "--json").stdout)["found"]
    assert found["architecture"] == ""


LAYOUT = f"""
model = "both"
required = ["{{models}}/{{model}}/config.json", "{{models}}/{{model}}/more/vae/*"]

[[parts]]
name = "vae"
at = "more"
files = ["vae/**"]
source = "huggingface:{REPO}"
revision = "{COMMIT}"
option = "with-vae"

[[parts]]
name = "model"
files = ["*"]
source = "modelscope:{REPO}"
"""


def test_a_model_is_put_together_of_parts_from_both_hubs(
    hub: MadeHub, home: Path, tmp_path: Path, builder: EnvBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in HUBS:
        builder.ensure(name)
    (tmp_path / "envs" / "lab" / "layouts").mkdir(parents=True)
    (tmp_path / "envs" / "lab" / "layouts" / "both.toml").write_text(LAYOUT)
    monkeypatch.setenv("EGOWORLD_EXTRA_ENVS", json.dumps([str(tmp_path / "envs")]))
    hub.licence = "other"
    command = ["weights", "download", "both", "--revision", f"model={COMMIT}", "--stall-s", "3"]
    command += ["--licence", "model=MIT", "--licence", "vae=Apache-2.0"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "more/vae/*: both needs it" in first.stdout
    sent = dict(hub.bytes_sent)
    second = CliRunner().invoke(app, [*command, "--with-vae"])
    assert second.exit_code == 0, second.output
    assert CliRunner().invoke(app, ["weights", "verify", "both"]).exit_code == 0
    assert {path: count for path, count in hub.bytes_sent.items() if path != "vae/empty.txt"} == sent
    parts = {
        part.source: (part.licence, [file.path for file in part.files])
        for part in ModelManifest.read(home / "both").parts
    }
    assert parts == {
        f"huggingface:{REPO}": ("Apache-2.0", ["more/vae/empty.txt"]),
        f"modelscope:{REPO}": ("MIT", [path for path in FILES if "/" not in path]),
    }


def test_a_pickle_is_refused_before_it_is_fetched_and_taken_by_its_sha256(
    hub: MadeHub, home: Path, builder: EnvBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.ensure("modelscope")
    hub.files = {**FILES, "pytorch_model.bin": b"\x80\x02}q\x00."}
    sha256 = hashlib.sha256(hub.files["pytorch_model.bin"]).hexdigest()
    refused = download("modelscope")
    assert refused.exit_code == 1
    assert "pytorch_model.bin: loads as a pickle, which can run code; take safetensors instead" in refused.stderr
    assert sha256 in refused.stderr
    assert hub.bytes_sent == {}
    monkeypatch.setenv("EGOWORLD_WEIGHTS_PICKLES", json.dumps({sha256: "looked through"}))
    assert download("modelscope").exit_code == 0
    assert (home / "tiny" / "pytorch_model.bin").read_bytes() == hub.files["pytorch_model.bin"]

"""`egoworld weights` on folders of this machine: what is there, whether it is whole, a delivery on a disk."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_resources.weights.manifest import MANIFEST, ModelManifest
from tests.made_models import FILES, write_files, write_model

TINY = "model-00001-of-00002.safetensors"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model home in force."""
    folder = tmp_path / "models"
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(folder))
    monkeypatch.setenv("EGOWORLD_HOME", str(tmp_path / "data"))
    return folder


def weights(*arguments: str | Path) -> Result:
    """`egoworld weights` with these arguments."""
    return CliRunner().invoke(app, ["weights", *map(str, arguments)])


def verified(home: Path, *arguments: str) -> dict[str, str]:
    """Path to kind of all differences that `verify --json` names in the one model that is there."""
    result = weights("verify", "--json", *arguments)
    (report,) = json.loads(result.stdout)["models"]
    assert report["whole"] is (result.exit_code == 0)
    return {one["path"]: one["kind"] for one in report["differences"]}


def test_a_whole_model_is_verified(home: Path) -> None:
    write_model(home / "tiny")
    result = weights("verify")
    assert result.exit_code == 0
    assert "tiny: whole, 4 files" in result.stdout


def test_every_missing_damaged_and_extra_file_is_named(home: Path) -> None:
    write_model(home / "tiny")
    data = bytearray(FILES[TINY])
    data[1_000_000] ^= 1
    (home / "tiny" / TINY).write_bytes(data)
    (home / "tiny" / "config.json").write_bytes(b"{}")
    (home / "tiny" / "vae" / "empty.txt").unlink()
    (home / "tiny" / "vae" / "more.bin").write_bytes(b"")
    assert verified(home) == {
        TINY: "damaged", "config.json": "damaged", "vae/empty.txt": "missing", "vae/more.bin": "extra",
    }  # fmt: skip
    assert verified(home, "--quick").get(TINY) is None
    assert "config.json: has 2 bytes, the manifest says 27" in weights("verify", "tiny").stdout


def test_links_odd_names_and_what_is_no_file_are_refused_and_not_followed(home: Path, tmp_path: Path) -> None:
    write_model(home / "tiny")
    (tmp_path / "elsewhere").write_bytes(FILES[TINY])
    (home / "tiny" / TINY).unlink()
    (home / "tiny" / TINY).symlink_to(tmp_path / "elsewhere")
    (home / "tiny" / "folder").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(home / "tiny" / "pipe")
    (home / "tiny" / "a\x1b[2Jb").touch()
    (home / "tiny" / os.fsdecode(b"\xff")).touch()
    assert verified(home) == {
        TINY: "refused", "folder": "refused", "pipe": "refused", "a\\x1b[2Jb": "refused", "\\xff": "refused",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "../outside"}, "not a plain path"),
        ({"path": "/etc/passwd"}, "not a plain path"),
        ({"path": "a\u202eb"}, "not shown"),
        ({"path": MANIFEST}, "name of the manifest"),
        ({"path": "vae"}, "as a file and as a folder"),
        ({"path": TINY}, "named twice"),
        ({"sha256": "0"}, "sha256"),
        ({"bytes": -1}, "bytes"),
    ],
)
def test_a_manifest_that_lies_is_refused_with_its_field(home: Path, change: dict[str, object], said: str) -> None:
    write_model(home / "tiny")
    document = json.loads((home / "tiny" / MANIFEST).read_text())
    document["parts"][0]["files"][0] |= change
    (home / "tiny" / MANIFEST).write_text(json.dumps(document))
    result = weights("verify", "tiny")
    assert result.exit_code == 1
    assert said in result.stdout


def test_a_folder_without_a_manifest_cannot_be_verified(home: Path) -> None:
    write_files(home / "loose")
    result = weights("verify")
    assert result.exit_code == 1
    assert f"no {MANIFEST}" in result.stdout
    assert f"no {MANIFEST}" in weights("list").stdout


def test_an_unknown_model_is_named_with_those_that_are_there(home: Path) -> None:
    write_model(home / "tiny")
    assert "unknown model 'large'; known: tiny" in weights("verify", "large").stderr


def test_the_list_has_size_licence_source_and_users(home: Path) -> None:
    write_model(home / "yolox")
    shown = json.loads(weights("list", "--json").stdout)["models"]
    assert [(one["model"], one["bytes"], one["licences"], one["used_by"]) for one in shown] == [
        ("yolox", sum(map(len, FILES.values())), ["Apache-2.0"], ["yolox (detections)"])
    ]
    assert shown[0]["parts"] == [
        {"source": "huggingface:lab/tiny", "revision": "1" * 40, "licence": "Apache-2.0"}
    ]  # fmt: skip
    table = weights("list").stdout
    assert "yolox (detections)" in table
    assert "Apache-2.0" in table


def test_a_delivery_is_taken_in_whole_and_only_once(home: Path, tmp_path: Path) -> None:
    manifest = write_model(tmp_path / "disk" / "tiny")
    (tmp_path / "disk" / "tiny" / "invoice.pdf").write_bytes(b"not of the model")
    first = weights("import", tmp_path / "disk" / "tiny")
    assert first.exit_code == 0, first.output
    assert verified(home) == {}
    assert ModelManifest.read(home / "tiny") == manifest
    before = (home / "tiny" / TINY).stat().st_ino
    (home / ".incoming" / f"tiny-{manifest.digest[:16]}" / "files").mkdir(parents=True)  # killed at the very end
    assert weights("import", tmp_path / "disk" / "tiny").exit_code == 0
    assert (home / "tiny" / TINY).stat().st_ino == before
    assert "begun and not whole" not in weights("list").stdout


def test_a_delivery_without_a_manifest_needs_its_source_and_licence(home: Path, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "disk")
    assert "--source, --licence" in weights("import", folder).stderr
    assert "go together" in weights("import", folder, "--source", "from the lab").stderr
    taken = weights("import", folder, "--name", "tiny", "--source", "from the lab", "--licence", "MIT")
    assert taken.exit_code == 0, taken.output
    assert ModelManifest.read(home / "tiny").licences == ["MIT"]
    assert verified(home) == {}


def test_a_damaged_delivery_is_refused_by_name_and_a_good_one_goes_on(home: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    (tmp_path / "tiny" / TINY).write_bytes(b"\0" * len(FILES[TINY]))
    result = weights("import", tmp_path / "tiny")
    assert result.exit_code == 1
    assert f"damaged: {TINY}: has sha256" in result.stderr
    assert not (home / "tiny").exists()
    assert "begun and not whole" in weights("list").stdout
    (tmp_path / "tiny" / TINY).unlink()
    assert f"missing: {TINY}" in weights("import", tmp_path / "tiny").stderr
    (tmp_path / "tiny" / TINY).write_bytes(FILES[TINY])
    assert weights("import", tmp_path / "tiny").exit_code == 0
    assert "begun and not whole" not in weights("list").stdout
    assert verified(home) == {}


def test_a_delivery_of_links_is_refused(home: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    shutil.move(tmp_path / "tiny" / TINY, tmp_path / "secret")
    (tmp_path / "tiny" / TINY).symlink_to(tmp_path / "secret")
    assert f"refused: {TINY}: is a symbolic link" in weights("import", tmp_path / "tiny").stderr
    (tmp_path / "tiny" / MANIFEST).unlink()
    options = ["--source", "a disk", "--licence", "MIT"]
    assert "is a symbolic link" in weights("import", tmp_path / "tiny", *options).stderr
    assert not (home / "tiny").exists()


def test_another_model_of_that_name_is_not_touched(home: Path, tmp_path: Path) -> None:
    kept = write_model(home / "tiny", {"own.txt": b"mine"})
    write_model(tmp_path / "tiny")
    result = weights("import", tmp_path / "tiny")
    assert result.exit_code == 1
    assert "--name" in result.stderr
    assert ModelManifest.read(home / "tiny") == kept
    assert weights("import", tmp_path / "tiny", "--name", "second").exit_code == 0
    assert weights("verify").exit_code == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from egoworld_resources.weights.importing import import_model

at = int(sys.argv[3])
import_model(Path(sys.argv[1]), Path(sys.argv[2]),
             progress=lambda done, total: done >= at and os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize("at", [0, 1_000_000, 3_100_000])
def test_a_killed_import_leaves_no_model_and_goes_on(home: Path, tmp_path: Path, at: int) -> None:
    write_model(tmp_path / "tiny")
    command = [sys.executable, "-c", KILLED, tmp_path / "tiny", home, str(at)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (home / "tiny").exists()
    kept = {path.stat().st_ino for path in home.glob(".incoming/tiny-*/files/*.safetensors")}
    assert weights("import", tmp_path / "tiny").exit_code == 0
    assert kept <= {path.stat().st_ino for path in (home / "tiny").iterdir()}
    assert verified(home) == {}


def test_what_a_crash_left_of_a_file_is_not_trusted(home: Path, tmp_path: Path) -> None:
    """After a loss of power, a file may have its length and not its bytes."""
    write_model(tmp_path / "tiny")
    command = [sys.executable, "-c", KILLED, tmp_path / "tiny", home, "2000000"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (part,) = [path for path in home.glob(".incoming/tiny-*/parts/*") if path.stat().st_size >= 1_000_000]
    part.write_bytes(b"\0" * 3_000_000)
    assert weights("import", tmp_path / "tiny").exit_code == 0
    assert verified(home) == {}


def as_pickles() -> dict[str, bytes]:
    """Files that load as pickles, by names that do not all say so."""
    torch, arrays, objects = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    np.save(objects, np.array([{}], dtype=object))
    np.savez(arrays, weights=np.array([{}], dtype=object))
    return {
        "old.bin": b"c__builtin__\nexec\n.",
        "model.safetensors": pickle.dumps({}),
        "model.dat": torch.getvalue(),
        "mean.npy": objects.getvalue(),
        "means.npz": arrays.getvalue(),
        "broken.zip": b"PK\x03\x04 and no archive",
    }


def test_pickles_are_refused_under_any_name_but_for_those_that_are_excepted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = io.BytesIO()
    np.savez(numbers, weights=np.arange(3.0))
    manifest = write_model(tmp_path / "tiny", {**FILES, **as_pickles(), "numbers.npz": numbers.getvalue()})
    refused = weights("import", tmp_path / "tiny")
    assert refused.exit_code == 1
    assert set(re.findall(r"refused: (\S+): loads as a pickle", refused.stderr)) == set(as_pickles())
    assert not (home / "tiny").exists()
    digests = {file.path: file.sha256 for file in manifest.files()}
    excepted = {digests[path]: "looked through" for path in as_pickles() if path != "model.dat"}
    monkeypatch.setenv("EGOWORLD_WEIGHTS_PICKLES", json.dumps(excepted))
    assert re.findall(r"refused: (\S+):", weights("import", tmp_path / "tiny").stderr) == ["model.dat"]
    excepted[digests["model.dat"]] = "looked through"
    monkeypatch.setenv("EGOWORLD_WEIGHTS_PICKLES", json.dumps(excepted))
    assert weights("import", tmp_path / "tiny").exit_code == 0
    assert verified(home) == {}
    monkeypatch.delenv("EGOWORLD_WEIGHTS_PICKLES")
    assert verified(home) == dict.fromkeys(as_pickles(), "refused")

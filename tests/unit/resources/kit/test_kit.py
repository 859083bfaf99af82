"""Kits: what is signed, what is refused, what is left on disk when it is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from egoworld_assets.cli.kit import app
from egoworld_resources.errors import BadConfiguration, DiskFull
from egoworld_resources.kit.bootstrap import bootstrap_pieces, zipped
from egoworld_resources.kit.fetched import Wanted, fetch
from egoworld_resources.kit.keys import fingerprint_of, make_key, read_key, sign
from egoworld_resources.kit.pieces import piece
from egoworld_resources.kit.receiver.install import KIT, Wish, install
from egoworld_resources.kit.receiver.manifest import digest_of, parse
from egoworld_resources.kit.receiver.opening import open_kit
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.kit.receiver.signature import check, fingerprint, verified, wanted_fingerprint
from egoworld_resources.kit.receiver.taking import Store, take
from made_kit import Maker, renamed, some_pieces

PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNED_R = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
SIGNED_S = "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
"""RFC 8032, section 7.1, test 2; the message is one byte, 72."""


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def taken(kit: Path, maker: Maker, store: Path) -> Store:
    """The kit's files in ``store``, by the maker's key."""
    source = open_kit(kit)
    content, signed = source.head()
    check(content, signed, maker.fingerprint, str(kit))
    made = Store(store)
    take(source, parse(content, str(kit)), made, lambda line: None)
    return made


def in_tar(kit: Path, change: Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]) -> None:
    """Rewrite the tar, each member as ``change`` gives it."""
    with tarfile.open(kit) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    with tarfile.open(kit, "w") as archive:
        for member, content in (new for old in members for new in change(*old)):
            member.size = len(content)
            archive.addfile(member, BytesIO(content))


@pytest.mark.parametrize("name", ["kit", "kit.tar"])
def test_what_was_put_in_comes_out(maker: Maker, tmp_path: Path, name: str) -> None:
    pieces = some_pieces()
    store = taken(maker.kit(name, pieces), maker, tmp_path / "store")
    assert {one.file.path: store.path(one.file).read_bytes() for one in pieces} == {
        one.file.path: one.content for one in pieces
    }
    assert sorted(path.name for path in (tmp_path / "store").rglob(".*")) == []


def test_the_signature_is_that_of_the_standard() -> None:
    public, message, signature = (bytes.fromhex(text) for text in (PUBLIC, "72", SIGNED_R + SIGNED_S))
    assert verified(public, signature, message)
    assert not verified(public, signature, message + b"x")


@settings(max_examples=30, deadline=None)
@given(message=st.binary(max_size=200), place=st.integers(0, 511), where=st.sampled_from(["signature", "message"]))
def test_one_bit_is_enough(message: bytes, place: int, where: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert verified(public, signature, message)
    changed = bytearray(signature if where == "signature" else message or b"\0")
    changed[place // 8 % len(changed)] ^= 1 << place % 8
    pair = (bytes(changed), message) if where == "signature" else (signature, bytes(changed))
    assert not verified(public, *pair)


@pytest.mark.parametrize("name", ["kit", "kit.tar"])
def test_an_altered_file_is_named(maker: Maker, tmp_path: Path, name: str) -> None:
    pieces = some_pieces()
    kit = maker.kit(name, pieces)
    wrong = b"wheel x" * 1000
    if kit.is_dir():
        (kit / pieces[1].file.path).write_bytes(wrong)
    else:
        in_tar(kit, lambda member, content: [(member, wrong if member.name == pieces[1].file.path else content)])
    with pytest.raises(KitRefused, match=r"wheels/b-1-py3-none-any\.whl .* is damaged: sha256"):
        taken(kit, maker, tmp_path / "store")
    assert not (tmp_path / "store" / pieces[1].file.path).exists()


def test_an_altered_manifest_is_refused(maker: Maker, tmp_path: Path) -> None:
    kit = maker.kit("kit", some_pieces())
    text = (kit / "kit.json").read_text()
    (kit / "kit.json").write_text(text.replace('"demo": false', '"demo": true'))
    assert text != (kit / "kit.json").read_text()
    with pytest.raises(KitRefused, match="the manifest was changed after it was signed"):
        taken(kit, maker, tmp_path / "store")


def test_another_key_is_refused_and_both_are_named(maker: Maker, tmp_path: Path) -> None:
    other = Maker(tmp_path / "other")
    kit = other.kit("kit", some_pieces())
    with pytest.raises(KitRefused) as caught:
        install(Wish(kit, tmp_path / "to", maker.fingerprint), print)
    assert other.fingerprint in str(caught.value)
    assert maker.fingerprint in str(caught.value)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("name", ["kit", "kit.tar"])
def test_a_missing_file_is_named(maker: Maker, tmp_path: Path, name: str) -> None:
    pieces = some_pieces()
    kit = maker.kit(name, pieces, pieces[:1])
    with pytest.raises(KitRefused, match=r"lacks wheels/b-1-py3-none-any\.whl, source/Makefile; copy the kit again"):
        taken(kit, maker, tmp_path / "store")


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_a_truncated_tar_is_refused(maker: Maker, tmp_path: Path, share: float) -> None:
    kit = maker.kit("kit.tar", some_pieces())
    os.truncate(kit, int(kit.stat().st_size * share))
    with pytest.raises(KitRefused, match=r"kit\.tar.*copy (it|the kit) again"):
        taken(kit, maker, tmp_path / "store")


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", "a//b", "./a", "a\\b", "a\nb", "", ".", "kit.json"]
)
def test_a_manifest_cannot_name_a_path_outside(maker: Maker, tmp_path: Path, path: str) -> None:
    one = renamed(piece("evil", "source", b"x"), path)
    content = maker.manifest([one]).to_bytes()
    with pytest.raises(KitRefused, match=r"not a path inside a kit|cannot be a file of a kit"):
        parse(content, "kit.json")


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "wheels/other.whl"])
def test_a_tar_cannot_bring_what_the_manifest_does_not_name(maker: Maker, tmp_path: Path, path: str) -> None:
    kit = maker.kit("kit.tar", some_pieces())

    def more(member: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [(member, content), *([(tarfile.TarInfo(path), b"x")] if member.name == "source/Makefile" else [])]

    in_tar(kit, more)
    with pytest.raises(KitRefused, match="which its manifest does not name"):
        taken(kit, maker, tmp_path / "deep" / "store")
    assert not list(tmp_path.rglob("evil"))


def test_links_are_not_followed(maker: Maker, tmp_path: Path) -> None:
    pieces = some_pieces()
    kit = maker.kit("kit", pieces)
    secret = tmp_path / "secret"
    secret.write_bytes((kit / pieces[0].file.path).read_bytes())
    (kit / pieces[0].file.path).unlink()
    (kit / pieces[0].file.path).symlink_to(secret)
    with pytest.raises(KitRefused, match="is a link"):
        taken(kit, maker, tmp_path / "store")
    tar = maker.kit("kit.tar", pieces)
    with tarfile.open(tar, "a") as archive:
        link = tarfile.TarInfo("wheels/c.whl")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.raises(KitRefused, match="is not a plain file"):
        taken(tar, maker, tmp_path / "other")


def test_too_small_a_disk_is_said_before_anything_is_copied(maker: Maker, tmp_path: Path) -> None:
    one = some_pieces()[0]
    huge = replace(one, file=replace(one.file, unpacked=10**18))
    with pytest.raises(DiskFull, match=r"GB free and the kit needs 1000000000\.\d GB"):
        taken(maker.kit("kit", [huge]), maker, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda table: table.pop("envs"), "not a kit's manifest"),
        (lambda table: table.update(format=2), "another format"),
        (lambda table: table.update(more=1), "not a kit's manifest|wrong type"),
        (lambda table: table.update(envs=["--upgrade"]), "a name that no env can have"),
        (lambda table: table["files"][0].update(bytes="1"), "bytes of .* must be of type int"),
        (lambda table: table["files"][0].update(sha256="0"), "sha256 of .* is wrong"),
        (lambda table: table["files"].append(table["files"][0]), "names a file twice"),
    ],
)
def test_a_manifest_that_is_none(maker: Maker, break_it: Callable[[dict], object], words: str) -> None:
    table = json.loads(maker.manifest(some_pieces()).to_bytes())
    break_it(table)
    with pytest.raises(KitRefused, match=words):
        parse(json.dumps(table).encode(), "kit.json")


def test_what_is_no_kit(maker: Maker, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no tar")
    for name, words in (
        ("empty", "kit.json cannot be read"),
        ("text", "not a complete tar"),
        ("nothing", "does not exist"),
    ):
        with pytest.raises(KitRefused, match=words):
            install(Wish(tmp_path / name, tmp_path / "to", maker.fingerprint), print)
    with pytest.raises(KitRefused, match="whose kit is it"):
        install(Wish(maker.kit("kit", some_pieces()), tmp_path / "to"), print)


def test_what_was_taken_is_not_taken_again(maker: Maker, tmp_path: Path) -> None:
    pieces = some_pieces()
    whole = maker.kit("kit", pieces)
    store = taken(whole, maker, tmp_path / "store")
    first = {one.file.path: store.path(one.file).stat().st_ino for one in pieces}
    store.path(pieces[0].file).write_bytes(b"damaged since")
    taken(whole, maker, tmp_path / "store")
    again = {one.file.path: store.path(one.file).stat().st_ino for one in pieces}
    assert [path for path in first if first[path] != again[path]] == [pieces[0].file.path]


def test_changes_go_on_top_of_the_kit_before_and_on_no_other(maker: Maker, tmp_path: Path) -> None:
    old = some_pieces()
    new = [*old[:2], piece("source/Makefile", "source", b"demo:\n\tfalse\n")]
    before = digest_of(maker.manifest(old).to_bytes())
    changes = maker.kit("changes", new, new[2:], previous=before)
    with pytest.raises(KitRefused, match=f"only what changed since the kit {before[:12]}.*install that kit first"):
        taken(changes, maker, tmp_path / "empty")
    taken(maker.kit("kit", old), maker, tmp_path / "store")
    store = taken(changes, maker, tmp_path / "store")
    assert store.path(new[2].file).read_bytes() == b"demo:\n\tfalse\n"


def test_files_that_no_kit_names_any_more_go(maker: Maker, tmp_path: Path) -> None:
    pieces = some_pieces()
    store = taken(maker.kit("kit", pieces), maker, tmp_path / "store")
    store.keep_only(maker.manifest(pieces[2:]))
    assert [str(path.relative_to(store.folder)) for path in store.folder.rglob("*")] == ["source", "source/Makefile"]


def test_a_file_changed_by_people_is_not_overwritten(maker: Maker, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "Makefile").write_text("mine\n")
    kit = maker.kit("kit", some_pieces())
    with pytest.raises(KitRefused, match=r"Makefile changed here since the last kit.*--overwrite"):
        install(Wish(kit, tmp_path / "to", maker.fingerprint), print)
    assert (tmp_path / "to" / "Makefile").read_text() == "mine\n"
    assert not (tmp_path / "to" / KIT / "installing").exists()


def test_an_older_kit_is_not_taken_for_a_renewal(maker: Maker, tmp_path: Path) -> None:
    pieces = some_pieces()
    newer = replace(maker.manifest(pieces), created="2026-02-01T00:00:00+00:00").to_bytes()
    (tmp_path / "to" / KIT).mkdir(parents=True)
    (tmp_path / "to" / KIT / "kit.json").write_bytes(newer)
    kit = maker.kit("kit", pieces, pieces[:1])
    with pytest.raises(KitRefused, match=r"what is installed 2026-02-01T00:00:00\+00:00; .*--older"):
        install(Wish(kit, tmp_path / "to", maker.fingerprint), print)
    with pytest.raises(KitRefused, match="lacks wheels/b-1"):
        install(Wish(kit, tmp_path / "to", maker.fingerprint, older=True), print)


def test_a_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    key = tmp_path / "deep" / "kit.key"
    fingerprint = make_key(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert fingerprint_of(read_key(key)) == fingerprint == wanted_fingerprint(str(key.with_name("kit.key.pub")))
    with pytest.raises(BadConfiguration, match="is there already"):
        make_key(key)
    key.chmod(0o640)
    with pytest.raises(BadConfiguration, match="chmod 600"):
        read_key(key)
    with pytest.raises(BadConfiguration, match="egoworld kit key"):
        read_key(tmp_path / "none")
    with pytest.raises(KitRefused, match="is not a fingerprint"):
        wanted_fingerprint("SHA256:short")


def test_the_signature_names_its_own_key(maker: Maker) -> None:
    content = maker.manifest(some_pieces()).to_bytes()
    signed = json.loads(sign(read_key(maker.key), content))
    assert fingerprint(bytes(32)) != maker.fingerprint
    with pytest.raises(KitRefused, match="wrong length"):
        check(content, json.dumps({**signed, "key": "AAAA"}).encode(), maker.fingerprint, "kit")
    with pytest.raises(KitRefused, match="not the signature of a kit"):
        check(content, b"[]", maker.fingerprint, "kit")


def test_the_program_for_a_bare_machine_needs_only_the_standard_library(maker: Maker, tmp_path: Path) -> None:
    program = tmp_path / "install.pyz"
    program.write_bytes(zipped())
    assert zipped() == program.read_bytes()
    kit = maker.kit("kit", some_pieces(), [])
    command = [sys.executable, "-I", "-S", "-B", program, kit, "--to", tmp_path / "to", "--key", maker.fingerprint]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "lacks wheels/a-1-py3-none-any.whl" in done.stderr


def test_the_script_runs_no_altered_program(maker: Maker, tmp_path: Path) -> None:
    kit = maker.kit("kit", bootstrap_pieces(None))
    command = ["sh", kit / "install.sh", "--help"]
    assert "usage" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (kit / "install.pyz").write_bytes((kit / "install.pyz").read_bytes() + b"x")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "install.pyz is damaged or missing" in done.stderr


def test_a_file_that_is_not_what_the_lock_names_is_not_packed(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"another")
    wanted = {"a.whl": Wanted("a.whl", hashlib.sha256(b"a").hexdigest(), wheel.as_uri())}
    with pytest.raises(KitRefused, match="its sha256 is another"):
        fetch(wanted, tmp_path / "fetched")
    wheel.write_bytes(b"a")
    assert fetch(wanted, tmp_path / "fetched") == {"a.whl": wheel}


def test_a_kit_is_never_written_over(maker: Maker, tmp_path: Path) -> None:
    kit = maker.kit("kit", some_pieces())
    with pytest.raises(BadConfiguration, match="is there already"):
        maker.kit("kit", some_pieces())
    shutil.rmtree(kit)
    kit.mkdir()
    maker.kit("kit", some_pieces())


def test_on_the_command_line(tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["key", str(tmp_path / "k")])
    assert (shown.exit_code, shown.output.count("SHA256:")) == (0, 1)
    missing = runner.invoke(app, ["build", str(tmp_path / "kit"), "--env", "none", "--key", str(tmp_path / "k")])
    assert missing.exit_code == 1
    assert "unknown model env 'none'" in missing.output
    absent = runner.invoke(app, ["install", str(tmp_path / "kit"), "--to", str(tmp_path / "to"), "--key", "x"])
    assert "neither a fingerprint" in absent.output

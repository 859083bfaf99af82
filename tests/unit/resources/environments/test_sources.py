"""What is kept of parsed sources: it is what parsing gives, or it is not taken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egoworld_resources.environments import sources as module
from egoworld_resources.environments.source_digest import source_digest
from egoworld_resources.environments.sources import Sources, parse
from egoworld_resources.settings import PROJECT

NAMES = st.sampled_from(["a", "motion", "hand.bones", "über"])
VALUES = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.booleans(), st.none())
LINES = st.one_of(
    st.builds("import {}".format, NAMES),
    st.builds("import {} as x, {}".format, NAMES, NAMES),
    st.builds("from {}{} import {} as y, z".format, st.sampled_from(["", ".", ".."]), NAMES, st.just("w")),
    st.builds("X = {!r}".format, VALUES),
    st.builds('"""{}"""'.format, st.sampled_from(["Doc.", "ä", "a\nb"])),
    st.builds("# {}".format, st.sampled_from(["why", "ß"])),
    st.builds("def f(x={!r}):\n    '''Doc.'''\n    import {}\n    return f'{{x:>{{x}}}}'".format, VALUES, NAMES),
    st.builds("class A:\n    'Doc.'\n    b: int = {!r}".format, st.integers()),
)
SOURCES = st.lists(st.lists(LINES, max_size=6).map("\n".join), min_size=1, max_size=4)


@contextmanager
def nothing_is_parsed() -> Iterator[None]:
    def refuse(source: bytes) -> None:
        raise AssertionError(f"parsed: {source!r}")

    with patch.object(module, "parse", refuse):
        yield


def written(folder: Path, texts: list[str]) -> list[Path]:
    """The texts as files."""
    files = [folder / f"m{number}.py" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    return files


def kept(folder: Path, *files: Path) -> Path:
    """The file in which what was parsed of some sources is kept."""
    sources = Sources(folder / "kept")
    for file in files:
        sources.parsed(file)
    sources.keep()
    return folder / "kept" / module.FILE


@given(texts=SOURCES)
def test_what_is_kept_is_what_parsing_gives(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("sources")
    files = written(folder, texts)
    parsed = [parse(file.read_bytes()) for file in files]
    digest = source_digest(Sources(), folder, files)
    kept(folder, *files)
    with nothing_is_parsed():
        again = Sources(folder / "kept")
        assert [again.parsed(file) for file in files] == parsed
        assert source_digest(again, folder, files) == digest


def test_every_source_of_the_project_is_kept_as_it_is_parsed(tmp_path: Path) -> None:
    files = sorted((PROJECT / "envs").rglob("*.py"))
    digest = source_digest(Sources(), PROJECT, files)
    kept(tmp_path, *files)
    with nothing_is_parsed():
        assert source_digest(Sources(tmp_path / "kept"), PROJECT, files) == digest


@given(data=st.data())
def test_a_damaged_file_changes_no_digest(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("sources")
    (file,) = written(folder, ["import a\nX = 1\n"])
    place = kept(folder, file)
    content = bytearray(place.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    place.write_bytes(content)
    sources = Sources(folder / "kept")
    assert sources.parsed(file) == parse(file.read_bytes())
    sources.keep()
    with nothing_is_parsed():
        assert Sources(folder / "kept").parsed(file) == parse(file.read_bytes())


def forged(place: Path, file: Path) -> None:
    """What someone who knows how we write would put there: other text under the digest of a source."""
    name = sha256(file.read_bytes()).hexdigest()
    place.parent.mkdir(exist_ok=True)
    body = json.dumps({name: [[], "X = 2"]}).encode()
    rule = sha256(module.sys.version.encode() + Path(module.__file__).read_bytes()).digest()
    place.write_bytes(sha256(rule + body).hexdigest().encode() + b"\n" + body)


@pytest.mark.parametrize("opened", ["to the group", "to all", "by a link", "a file is a link", "of another user"])
def test_a_folder_that_others_may_write_is_not_believed(tmp_path: Path, opened: str) -> None:
    (file,) = written(tmp_path, ["X = 1"])
    folder = tmp_path / "kept"
    forged(folder / module.FILE, file)
    folder.chmod(0o700)
    assert Sources(folder).parsed(file).text == "X = 2", "what is forged would be taken from a folder of ours"
    if opened == "of another user":
        if os.geteuid():
            pytest.skip("only root gives folders away")
        os.chown(folder, 12345, 12345)
    elif opened == "by a link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif opened == "a file is a link":
        (folder / module.FILE).rename(tmp_path / "elsewhere")
        (folder / module.FILE).symlink_to(tmp_path / "elsewhere")
    else:
        folder.chmod({"to the group": 0o770, "to all": 0o703}[opened])
    assert Sources(folder).parsed(file).text == "X = 1"
    forgery = (folder / module.FILE).read_bytes()
    sources = Sources(folder)
    sources.parsed(file)
    sources.keep()
    if opened == "a file is a link":
        assert (tmp_path / "elsewhere").read_bytes() == forgery, "it is replaced, not written through"
        assert Sources(folder).parsed(file).text == "X = 1"
    else:
        assert (folder / module.FILE).read_bytes() == forgery


def test_without_a_place_to_keep_it_sources_are_parsed(tmp_path: Path) -> None:
    (file,) = written(tmp_path, ["X = 1"])
    for folder in (tmp_path / "no" / "where", file):
        sources = Sources(folder)
        assert sources.parsed(file).text == "X = 1"
        sources.keep()
    assert not (tmp_path / "no").exists()


def test_another_python_or_rule_does_not_take_it(tmp_path: Path) -> None:
    (file,) = written(tmp_path, ["X = 1"])
    place = kept(tmp_path, file)
    forged(place, file)
    body = place.read_bytes()[65:]
    place.write_bytes(sha256(b"another" + body).hexdigest().encode() + b"\n" + body)
    assert Sources(tmp_path / "kept").parsed(file).text == "X = 1"

"""The conda backend with the real rattler and real channels in folders: what it locks, installs and refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from egoworld_resources.environments.building.generations import Ready
from egoworld_resources.workflow_envs.backends import Wish
from egoworld_resources.workflow_envs.conda.backend import SERVER, CondaBackend
from egoworld_resources.workflow_envs.conda.declaration import FILE, LOCK, Declaration
from egoworld_resources.workflow_envs.conda.packages import Package, write_explicit
from egoworld_resources.workflow_envs.errors import (
    CondaFailed,
    Damaged,
    DependencyNotFound,
    IndexSilent,
    InvalidPackages,
    PolicyRefused,
    PythonNotFound,
    ResolutionFailed,
)
from made_channel import MadeChannel
from made_index import Quiet
from servers import answering

NONE = Wish("none")


@dataclass
class Place:
    """Two channels, a backend that asks the first one first, and envs beside its cache."""

    folder: Path
    first: MadeChannel
    second: MadeChannel
    backend: CondaBackend

    def locked(self, *packages: str, python: str = "none", name: str = "one") -> Path:
        folder = self.folder / "declared" / name
        folder.mkdir(parents=True)
        self.backend.start(folder, name, Wish(python, packages))
        return folder

    def installed(self, declared: Path, name: str = "one", *, trust: bool = True) -> tuple[Path, Ready]:
        generation = self.folder / "envs" / name
        generation.parent.mkdir(exist_ok=True)
        ready = self.backend.install(declared, generation, 0, trust=trust, operation="made")
        ready.write(generation)
        return generation, ready

    def versions(self, declared: Path) -> dict[str, str]:
        return self.backend.declared(declared).locked_versions


@pytest.fixture
def place(tmp_path: Path) -> Place:
    first, second = MadeChannel(tmp_path / "first"), MadeChannel(tmp_path / "second")
    first.add_python()
    first.add("tool", "1.0")
    first.add("tool", "1.1", kind=".tar.bz2")
    first.add("app", "1.0", depends=("tool >=1",))
    second.add("tool", "2.0")
    second.add("other", "1.0", depends=("tool",))
    return Place(tmp_path, first, second, CondaBackend(tmp_path / "cache", [first.url, second.url]))


def text(generation: Path, name: str) -> str:
    return (generation / "share" / f"{name}.txt").read_text(encoding="utf-8")


def test_what_is_wished_for_is_locked_and_installed(place: Place) -> None:
    declared = place.locked("app", python="3.11")
    declaration = place.backend.declared(declared)
    assert declaration.python_version == "3.11"
    assert declaration.dependencies == ("app", "python 3.11.*")
    assert declaration.locked_versions == {"app": "1.0", "python": "3.11.9", "tool": "1.1"}
    generation, ready = place.installed(declared)
    assert (text(generation, "app"), text(generation, "tool")) == ("1.0", "1.1")
    assert ready.python == "bin/python"
    assert ready.lock_digest == place.backend.digest(declared) == place.backend.digest(generation)
    assert ready.stamp == place.backend.stamp(generation)
    assert place.backend.damaged(generation) == []
    assert place.backend.declared(generation) == declaration


def test_the_folder_of_an_env_is_written_into_its_files(place: Place) -> None:
    generation, _ = place.installed(place.locked(python="3.11"))
    output = subprocess.run([generation / "bin" / "where"], capture_output=True, text=True, check=True).stdout
    assert output.strip() == str(generation)
    ran = [generation / "bin" / "python", "-I", "-c", "print('ran')"]
    assert subprocess.run(ran, capture_output=True, text=True, check=True).stdout == "ran\n"


def test_modules_for_every_machine_are_linked_where_this_python_finds_them(place: Place) -> None:
    module = "def main():\n    print('called')\n"
    place.first.add("pure", "1.0", {"site-packages/pure.py": module}, depends=("python",), noarch=True)
    generation, ready = place.installed(place.locked("pure", python="3.11"))
    assert (generation / "lib" / "python3.11" / "site-packages" / "pure.py").read_text(encoding="utf-8") == module
    assert (generation / "bin" / "pure").read_bytes().startswith(f"#!{generation}/bin/python".encode())
    assert place.backend.damaged(generation) == []
    assert place.backend.stamp(generation) == ready.stamp


def test_an_env_without_python_says_so(place: Place) -> None:
    declared = place.locked("tool")
    assert place.backend.declared(declared).python_version == ""
    assert place.installed(declared)[1].python == ""


def test_a_package_comes_from_the_first_channel_that_has_its_name(place: Place) -> None:
    assert place.versions(place.locked("other")) == {"other": "1.0", "tool": "1.1"}
    with pytest.raises(ResolutionFailed, match=r"tool 2\.0 is only in .*/second/, and .*/first/ comes before it"):
        place.locked("tool >=2", name="two")
    assert place.versions(place.locked(f"{place.second.url}::tool", name="three")) == {"tool": "2.0"}
    turned = CondaBackend(place.folder / "cache", [place.second.url, place.first.url])
    declared = place.folder / "declared" / "turned"
    declared.mkdir()
    turned.start(declared, "turned", Wish("none", ["tool"]))
    assert turned.declared(declared).locked_versions == {"tool": "2.0"}


def test_locked_versions_stay_until_an_upgrade(place: Place) -> None:
    declared = place.locked("tool")
    place.first.add("tool", "1.2")
    place.backend.add(declared, ["app"])
    assert place.versions(declared) == {"app": "1.0", "tool": "1.1"}
    place.backend.remove(declared, ["app"])
    assert place.versions(declared) == {"tool": "1.1"}
    place.backend.update(declared, NONE)
    assert place.versions(declared) == {"tool": "1.1"}
    place.backend.update(declared, Wish("none", upgrade=True))
    assert place.versions(declared) == {"tool": "1.2"}
    place.backend.add(declared, ["tool <1.1"])
    assert place.backend.declared(declared).dependencies == ("tool <1.1",)
    assert place.versions(declared) == {"tool": "1.0"}


def test_an_update_replaces_the_list_and_the_python(place: Place) -> None:
    place.first.add_python("3.12.4")
    declared = place.locked("app", python="3.11")
    place.backend.update(declared, Wish("3.11", ["tool"]))
    assert place.versions(declared) == {"python": "3.11.9", "tool": "1.1"}
    place.backend.update(declared, Wish("3.12"))
    assert place.versions(declared) == {"python": "3.12.4", "tool": "1.1"}
    place.backend.update(declared, NONE)
    assert place.versions(declared) == {"tool": "1.1"}


def test_what_was_not_declared_cannot_be_removed(place: Place) -> None:
    declared = place.locked("app")
    with pytest.raises(DependencyNotFound, match=r"does not depend on tool itself; its dependencies: app"):
        place.backend.remove(declared, ["tool"])


def test_the_solver_says_why_there_is_no_answer(place: Place) -> None:
    place.first.add("old", "1.0", depends=("tool <1.1",))
    with pytest.raises(ResolutionFailed, match=r"tool <1\.1"):
        place.locked("old", "tool >=1.1")
    with pytest.raises(ResolutionFailed, match="No candidates were found for nothing"):
        place.locked("nothing", name="two")
    with pytest.raises(PythonNotFound, match=r"no channel has python 3\.13\.\*; there are: 3\.11\.9"):
        place.locked(python="3.13", name="three")


def test_a_machine_without_a_gpu_locks_for_one_that_has_it(place: Place) -> None:
    place.first.add("kernels", "1.0", depends=("__cuda >=12",))
    with pytest.raises(ResolutionFailed, match="__cuda >=12, for which no candidates were found"):
        place.locked("kernels")
    place.backend = CondaBackend(place.folder / "cache", [place.first.url], {**SERVER, "__cuda": "12.8"})
    assert place.versions(place.locked("kernels", name="two")) == {"kernels": "1.0"}


def test_a_package_of_which_the_channel_tells_no_sha256_is_refused(place: Place) -> None:
    place.first.add("loose", "1.0", sha256=False)
    with pytest.raises(ResolutionFailed, match=r"loose-1\.0-0\.conda has no sha256 in its channel"):
        place.locked("loose")


def test_a_channel_that_is_not_there_is_reported_from_an_empty_one(place: Place) -> None:
    place.backend = CondaBackend(place.folder / "cache", [f"file://{place.folder}/nowhere"])
    with pytest.raises(IndexSilent, match="/nowhere/ is not there"):
        place.locked("tool")
    place.backend = CondaBackend(place.folder / "cache", ["http://127.0.0.1:9/channel"])
    with pytest.raises(IndexSilent, match="error sending request"):
        place.locked("tool", name="two")


def test_an_altered_archive_is_not_installed(place: Place) -> None:
    declared = place.locked("tool")
    archive = place.first.folder / "linux-64" / "tool-1.1-0.tar.bz2"
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(Damaged, match="is not the file that was locked"):
        place.installed(declared)
    assert [file for file in (place.folder / "cache" / "archives").rglob("*") if file.is_file()] == []


def test_an_archive_that_its_channel_lost_is_named(place: Place) -> None:
    declared = place.locked("tool")
    (place.first.folder / "linux-64" / "tool-1.1-0.tar.bz2").unlink()
    with pytest.raises(IndexSilent, match=r"tool-1\.1-0\.tar\.bz2 cannot be read: No such file"):
        place.installed(declared)


def test_an_archive_that_was_altered_in_the_cache_is_fetched_anew(place: Place) -> None:
    declared = place.locked("tool")
    place.installed(declared)
    (archive,) = (place.folder / "cache" / "archives").rglob("*.tar.bz2")
    archive.chmod(0o644)
    archive.write_bytes(b"altered")
    generation, _ = place.installed(declared, "two")
    assert text(generation, "tool") == "1.1"
    assert archive.read_bytes() == (place.first.folder / "linux-64" / archive.name).read_bytes()


def test_a_channel_over_http_is_fetched_from_and_compared(place: Place) -> None:
    archive = place.first.folder / "linux-64" / "tool-1.1-0.tar.bz2"
    with answering(partial(Quiet, directory=str(place.folder))) as address:
        place.backend = CondaBackend(place.folder / "cache", [f"{address}/first"])
        declared = place.locked("app")
        whole = archive.read_bytes()
        archive.write_bytes(whole + b"\0")
        with pytest.raises(Damaged, match=r"/first/linux-64/tool-1\.1-0\.tar\.bz2 is not the file that was locked"):
            place.installed(declared)
        archive.unlink()
        with pytest.raises(IndexSilent, match="404"):
            place.installed(declared)
        archive.write_bytes(whole)
        generation, _ = place.installed(declared)
    assert (text(generation, "app"), text(generation, "tool")) == ("1.0", "1.1")
    assert text(place.installed(declared, "two")[0], "tool") == "1.1"
    records = [json.loads(file.read_bytes()) for file in (generation / "conda-meta").glob("tool-*.json")]
    assert [one["channel"] for one in records] == [f"{address}/first/"]


def test_what_the_cache_holds_needs_no_channel(place: Place) -> None:
    declared = place.locked("app")
    place.installed(declared)
    place.first.folder.rename(place.folder / "away")
    assert text(place.installed(declared, "two")[0], "app") == "1.0"


def test_a_lock_that_was_changed_by_hand_is_refused(place: Place) -> None:
    declared = place.locked("app")
    lock = declared / LOCK
    written = lock.read_text(encoding="utf-8")
    lock.write_text(
        "".join(line for line in written.splitlines(keepends=True) if "/tool-" not in line), encoding="utf-8"
    )
    with pytest.raises(Damaged, match="was not made for the packages declared"):
        place.installed(declared)
    lock.write_text(written, encoding="utf-8")
    (declared / FILE).write_text(
        (declared / FILE).read_text(encoding="utf-8").replace("app", "app <2"), encoding="utf-8"
    )
    with pytest.raises(Damaged, match="lock again"):
        place.installed(declared)
    assert not (place.folder / "envs" / "one").exists()


def test_a_lock_of_a_channel_that_is_no_more_allowed_is_refused(place: Place) -> None:
    declared = place.locked("other")
    place.backend = CondaBackend(place.folder / "cache", [place.first.url])
    with pytest.raises(PolicyRefused, match=r"other-1\.0-0\.conda comes from .*/second/"):
        place.installed(declared)


def test_two_envs_share_their_files_with_the_cache(place: Place) -> None:
    declared = place.locked("tool")
    one, _ = place.installed(declared, "one")
    two, _ = place.installed(declared, "two")
    inodes = {(env / "share" / "tool.txt").stat().st_ino for env in (one, two)}
    (unpacked,) = (place.folder / "cache" / "unpacked").rglob("share/tool.txt")
    assert inodes == {unpacked.stat().st_ino}
    assert unpacked.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("trust", [True, False])
def test_a_write_into_one_env_is_seen_and_reaches_no_new_one(place: Place, trust: bool) -> None:
    declared = place.locked("app")
    generation, ready = place.installed(declared)
    place.installed(declared, "known")
    (generation / "share" / "tool.txt").chmod(0o644)
    (generation / "share" / "tool.txt").write_text("9.9", encoding="utf-8")
    assert place.backend.damaged(generation) == ["share/tool.txt"]
    assert place.backend.stamp(generation) != ready.stamp
    two, _ = place.installed(declared, "two", trust=trust)
    assert text(two, "tool") == "1.1"
    assert place.backend.damaged(two) == []


def test_a_cache_that_lost_a_file_is_filled_again(place: Place) -> None:
    declared = place.locked("app")
    place.installed(declared)
    (unpacked,) = (place.folder / "cache" / "unpacked").rglob("share/tool.txt")
    unpacked.unlink()
    assert text(place.installed(declared, "two")[0], "tool") == "1.1"


def test_missing_files_links_and_an_altered_lock_are_damage(place: Place) -> None:
    generation, _ = place.installed(place.locked("tool", python="3.11"))
    (generation / "share" / "tool.txt").unlink()
    (generation / "bin" / "python").unlink()
    lock = (generation / LOCK).read_text(encoding="utf-8")
    (generation / LOCK).write_text(lock.replace("tool-1.1-0.tar.bz2", "tool-1.0-0.tar.bz2"), encoding="utf-8")
    assert sorted(place.backend.damaged(generation)) == ["bin/python", LOCK, "share/tool.txt"]


def test_one_name_and_version_of_two_channels_are_kept_apart(place: Place) -> None:
    place.second.add("tool", "1.1", {"share/tool.txt": "1.1 of the second"}, kind=".tar.bz2")
    one, _ = place.installed(place.locked("tool", name="one"))
    declared = place.locked(f"{place.second.url}::tool 1.1.*", name="two")
    two, _ = place.installed(declared, "two")
    three, _ = place.installed(place.locked("tool", name="three"), "three")
    assert [text(env, "tool") for env in (one, two, three)] == ["1.1", "1.1 of the second", "1.1"]


def test_an_archive_must_hold_what_its_name_says(place: Place) -> None:
    declared = place.locked("tool ==1.0")
    file = place.first.folder / "linux-64" / "tool-1.0-0.conda"
    shutil.copyfile(place.first.folder / "linux-64" / "app-1.0-0.conda", file)
    other = Package.of(f"{place.first.url}/linux-64/{file.name}", hashlib.sha256(file.read_bytes()).hexdigest())
    (declared / LOCK).write_text(write_explicit([other], Declaration.read(declared).words), encoding="utf-8")
    with pytest.raises(CondaFailed, match=r"the archive of \w+ 1\.0 0 holds a different package"):
        place.installed(declared)


def test_a_package_must_bring_the_files_that_it_tells_of(place: Place) -> None:
    place.first.add("liar", "1.0", lies=True)
    with pytest.raises(Damaged, match=r"liar"):
        place.installed(place.locked("liar"))


@pytest.mark.parametrize("taken", [FILE, LOCK, "ready.json"])
def test_a_package_cannot_bring_a_file_of_ours(place: Place, taken: str) -> None:
    place.first.add("greedy", "1.0", {taken: "{}"})
    with pytest.raises(CondaFailed, match=f"brings a file {taken}"):
        place.installed(place.locked("greedy"))


def test_scripts_of_packages_are_not_run(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    script = f"#!/bin/sh\ntouch {place.folder}/ran\n"
    place.first.add("eager", "1.0", {"bin/.eager-post-link.sh": script})
    generation, _ = place.installed(place.locked("eager"))
    assert (generation / "bin" / ".eager-post-link.sh").is_file()
    assert not (place.folder / "ran").exists()
    assert ".eager-post-link.sh is not run" in caplog.text


def test_packages_that_no_channel_serves_are_refused_before_anything_is_asked(place: Place) -> None:
    with pytest.raises(InvalidPackages, match="packages come from channels"):
        place.locked("https://example.org/linux-64/tool-1-0.conda")
    assert list((place.folder / "declared" / "one").iterdir()) == []

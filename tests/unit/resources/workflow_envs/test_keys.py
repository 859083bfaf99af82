"""Keys of envs: any two differ in their folders too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egoworld_resources.workflow_envs.errors import InvalidKey
from egoworld_resources.workflow_envs.fabric import project_name
from egoworld_resources.workflow_envs.keys import EnvKey

parts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
keys = st.builds(EnvKey, parts, parts, st.just("") | parts)


@given(keys)
def test_a_key_is_read_back_from_its_folder(key: EnvKey) -> None:
    assert EnvKey.of_folder(key.folder) == key


@given(keys, keys)
def test_two_keys_have_two_folders(one: EnvKey, other: EnvKey) -> None:
    assert (one.folder == other.folder) == (one == other)


def test_underscores_do_not_make_two_keys_one() -> None:
    folders = [EnvKey("a_b", "c").folder, EnvKey("a", "b_c").folder, EnvKey("a", "b", "c").folder]
    assert folders == ["a__b_c", "a_b__c", "a_b_c"]


def test_the_folder_of_the_seed() -> None:
    assert EnvKey("workflow123", "node123", "v1").folder == "workflow123_node123_v1"


@pytest.mark.parametrize("bad", ["", ".", "..", "../x", "a/b", "-x", "_x", "a b", "ä", "a\n", "x" * 65, "a\0"])
def test_what_no_folder_should_be_called_is_refused(bad: str) -> None:
    with pytest.raises(InvalidKey, match="workflow_id"):
        EnvKey(bad, "node")
    with pytest.raises(InvalidKey, match="node_id"):
        EnvKey("workflow", bad)


def test_a_folder_name_that_no_file_system_takes_is_refused() -> None:
    long = "a" + "_" * 60
    with pytest.raises(InvalidKey, match="240"):
        EnvKey(long, long, long)


@pytest.mark.parametrize("name", [".locks", ".scratch", "alone", "a_b_c_d", "_a_b"])
def test_other_folders_are_no_envs(name: str) -> None:
    with pytest.raises(InvalidKey):
        EnvKey.of_folder(name)


@given(keys)
def test_the_project_has_a_name_that_packaging_takes(key: EnvKey) -> None:
    from packaging.utils import canonicalize_name, is_normalized_name

    assert is_normalized_name(canonicalize_name(project_name(key), validate=True))

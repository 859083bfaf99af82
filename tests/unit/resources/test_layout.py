from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from egoworld_resources.layout import KEY, video_key


@given(st.text(min_size=1, max_size=400))
def test_any_name_gives_a_safe_key(name: str) -> None:
    assert KEY.fullmatch(video_key(name))


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_names_have_two_keys(a: str, b: str) -> None:
    assert (video_key(a) == video_key(b)) == (a == b)


def test_names_that_differ_only_in_case_or_normal_form_are_two_videos() -> None:
    assert len({video_key(name) for name in ("Café.mp4", "café.mp4", "Cafe\u0301.mp4", "CAFÉ.mp4")}) == 4


def test_the_key_is_readable_and_stable() -> None:
    assert video_key("../Küche 01.MP4") == "kuche-01-" + video_key("../Küche 01.MP4")[-8:]
    assert video_key("kitchen.mp4") == "kitchen-4bc45776"

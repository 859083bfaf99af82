"""Which addresses packages may come from."""

from __future__ import annotations

import pytest

from egoworld_resources.environments.policy.addresses import Origin, PrivateAddress, checked_source, reachable

OWN = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "LOCALHOST.", "0.0.0.0", "0"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]", "[fe80::1]", "[fd00::1]"),
    *("10.0.0.1", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
]


@pytest.mark.parametrize("host", OWN)
def test_own_addresses_are_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(PrivateAddress):
        reachable(Origin.of(f"https://{host}/x"), ())


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700:4700::1111]"])
def test_public_ones_may_be_asked(host: str) -> None:
    assert reachable(Origin.of(f"https://{host}/x"), ()) == (host.strip("[]"),)


@pytest.mark.parametrize("entry", ["http://127.0.0.1:8080", "127.0.0.1", "127.0.0.0/8"])
def test_what_is_listed_may_be_asked(entry: str) -> None:
    assert checked_source(entry) == entry
    assert reachable(Origin.of("http://127.0.0.1:8080/x"), [entry]) == ("127.0.0.1",)


def test_an_origin_is_listed_with_its_port_and_scheme() -> None:
    for other in ("http://127.0.0.1:8081/", "https://127.0.0.1:8080/"):
        with pytest.raises(PrivateAddress):
            reachable(Origin.of(other), ["http://127.0.0.1:8080"])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "https://a@host/",
        "https://a:b@host/",
        "https://h%6fst/",
        "https://ħost/",
        "https://",
        "https://h st/",
    ],
)
def test_a_host_is_plainly_written(url: str) -> None:
    with pytest.raises(ValueError, match=r"host|not http"):
        Origin.of(url)


@pytest.mark.parametrize("entry", ["http://host/path", "10.0.0.0/99", "a b", "ftp://host"])
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked_source(entry)

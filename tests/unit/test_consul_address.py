"""backends/cluster/consul/address.py: what an address of Consul may say."""

from __future__ import annotations

import pytest

from callboard.backends.cluster.consul.address import parse_address
from callboard.core.errors import InvalidArgument


def test_all_that_an_address_can_say():
    url = "consuls://s3cr%40t@one,two:9501,[::1]:7?name=billing&dc=dc2&ca=/ca.pem&cert=/c.pem&key=/c.key"
    address = parse_address(url)
    assert address.endpoints == (("one", 8501), ("two", 9501), ("[::1]", 7))
    assert (address.token, address.name, address.dc, address.scheme) == ("s3cr@t", "billing", "dc2", "https")
    assert (address.ca, address.cert, address.key) == ("/ca.pem", "/c.pem", "/c.key")
    assert address.shown == "consuls://one:8501,two:9501,[::1]:7"


def test_what_is_left_out_has_a_default():
    address = parse_address("consul://")
    assert address.endpoints == (("localhost", 8500),)
    assert (address.token, address.name, address.dc, address.scheme) == ("", "callboard", "", "http")
    assert parse_address("consul://:t@h").token == parse_address("consul://t@h").token == "t"  # noqa: S105 - a test's own


@pytest.mark.parametrize("url", [
    "consul://t@h?name=", "consul://t@h?name=a/b", "consul://t@h?name=" + "x" * 65, "consul://t@h?dc=a%20b",
    "consul://t@h?ca=/x", "consuls://t@h?key=/x", "consul://t@h?nonsense=1", "consul://t@h/path", "consul://t@h:0",
    "consul://t@h:70000", "consul://t@h:x", "consul://t@a,,b:y", "consul://t@h ost", "consul://user:t@h",
    "consul://t%0a@h", "consul://%C3%A9@h", "consul://" + "t" * 256 + "@h", "http://t@h",
    "consul://t@" + ",".join(["h"] * 17),
])
def test_what_is_none_is_refused_without_its_token(url: str):
    with pytest.raises(InvalidArgument) as refused:
        parse_address(url.replace("t@", "canary@"))
    assert "canary" not in str(refused.value)


def test_a_token_is_not_shown():
    address = parse_address("consul://canary@h")
    assert "canary" not in repr(address)
    assert "canary" not in address.shown

"""Addresses of ZooKeeper: what they say, and what is refused."""

from __future__ import annotations

import pytest

from callboard.backends.cluster.zookeeper.address import parse_address
from callboard.core.errors import InvalidArgument
from callboard.stores import mask_url


@pytest.mark.parametrize(("url", "hosts", "base"), [
    ("zookeeper://", "localhost:2181", "/callboard"),
    ("zookeeper://h", "h:2181", "/callboard"),
    ("zookeeper://h1:1,h2,[::1]:3/prod/queues?name=billing", "h1:1,h2:2181,[::1]:3", "/prod/queues/billing"),
    ("zookeepers://u:p@h:4/", "h:4", "/callboard"),
])
def test_what_an_address_says(url: str, hosts: str, base: str):
    found = parse_address(url)
    assert (found.hosts, found.base) == (hosts, base)
    assert found.tls == url.startswith("zookeepers:")
    assert found.shown == f"{url.partition(':')[0]}://{hosts}{base}"


def test_parents_from_the_top():
    assert parse_address("zookeeper://h/a/b").parents == ("/a", "/a/b")
    assert parse_address("zookeeper://h").parents == ()


def test_login_and_files_of_tls():
    found = parse_address("zookeepers://us%40er:p%2F%3Aw@h?ca=/ca.pem&cert=/c.pem&key=/k.pem")
    assert found.login == "us@er:p/:w"
    assert found.files == {"ca": "/ca.pem", "cert": "/c.pem", "key": "/k.pem"}


@pytest.mark.parametrize("url", [
    "http://h", "zookeeper://h:port", "zookeeper://h:99999", "zookeeper://h:0", "zookeeper://h1 h2",
    "zookeeper://h/a b",
    "zookeeper://h/../x", "zookeeper://h/./x", "zookeeper://h/zookeeper", "zookeeper://h?name=", "zookeeper://h?name=..",
    "zookeeper://h?name=a/b", "zookeeper://h?timeout=5", "zookeeper://h?ca=/ca.pem", "zookeepers://h?cert=/c.pem",
    "zookeeper://user@h", "zookeeper://:secret@h", "zookeeper://u%3Av:secret@h", "zookeeper://" + ",".join("h" * 51),
    "zookeeper://h/" + "a/" * 17,
])
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(InvalidArgument) as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)


def test_no_password_is_shown():
    url = "zookeepers://u:canary@h1,h2:7/x"
    found = parse_address(url)
    assert "canary" not in f"{found} {found!r} {found.shown} {mask_url(url)}"

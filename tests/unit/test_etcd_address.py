"""Addresses of etcd: what they say, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from callboard.backends.cluster.etcd.address import parse_address
from callboard.core.errors import InvalidArgument
from callboard.stores import mask_url


@pytest.mark.parametrize(("url", "servers"), [
    ("etcd://", (("localhost", 2379),)),
    ("etcd://h", (("h", 2379),)),
    ("etcd://h:7000/", (("h", 7000),)),
    ("etcds://h1:1,h2,h3.example.org:3", (("h1", 1), ("h2", 2379), ("h3.example.org", 3))),
    ("etcd://[::1]:7000,[fe80::1]", (("[::1]", 7000), ("[fe80::1]", 2379))),
])
def test_which_servers_an_address_names(url: str, servers: tuple[tuple[str, int], ...]):
    found = parse_address(url)
    assert found.servers == servers
    assert found.tls == url.startswith("etcds")
    assert (found.name, found.user, found.password, found.files) == ("callboard", "", "", {})


def test_user_password_name_and_files():
    found = parse_address("etcds://u%40x:p%2F:w@h1,h2:7/?name=billing&ca=/ca.pem&cert=/c.pem&key=/my%20k.pem")
    assert (found.user, found.password, found.name) == ("u@x", "p/:w", "billing")
    assert found.files == {"ca": "/ca.pem", "cert": "/c.pem", "key": "/my k.pem"}
    assert found.shown == "etcds://h1:2379,h2:7/"


@pytest.mark.parametrize("url", [
    "http://h", "etcd:h", "etcd://h:port", "etcd://h:0", "etcd://h:99999", "etcd://h/db", "etcd://h1,,h2",
    "etcd://h h", "etcd://user@h", "etcd://:p@h", "etcd://h?timeout=5", "etcd://h?ca=/ca.pem", "etcd://h?name=", "etcd://h?name={x}",
    "etcds://h?cert=/c.pem", "etcds://h?key=/k.pem", "etcds://h?insecure=1", "etcd://" + ",".join("h" * 17),
])
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(InvalidArgument):
        parse_address(url)


@pytest.mark.parametrize("url", [
    "etcd://u:canary@h:port", "etcd://u:canary@h/db", "etcd://u:canary@h?x=1", "etcds://u:canary@h?cert=/c.pem",
    "etcd://u:canary@h?name={", "etcd://canary@h",
])
def test_no_refusal_shows_the_password(url: str):
    with pytest.raises(InvalidArgument) as refused:
        parse_address(url)
    assert "canary" not in str(refused.value)


def test_no_password_is_shown():
    found = parse_address("etcds://u:canary@h1,h2/?name=x")
    assert "canary" not in f"{found} {found!r} {found.shown} {mask_url('etcds://u:canary@h1,h2/?name=x')}"


def test_a_certificate_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"ca=.*/none.pem in an address of etcd can't be read: No such file"):
        parse_address(f"etcds://h?ca={tmp_path}/none.pem").pem("ca")


def test_without_the_package_the_remedy_is_told():
    code = ("import sys, importlib.util as u; real = u.find_spec; "
            "u.find_spec = lambda name, *more: None if name == 'etcd3' else real(name, *more); "
            "from callboard.core.errors import UsageError\n"
            "try:\n    import callboard.backends.cluster.etcd\n"
            "except UsageError as error:\n    print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install callboard[etcd]" in done.stdout

"""Addresses of Redis: what they say, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from callboard.backends.store.redis.address import parse_address
from callboard.core.errors import InvalidArgument
from callboard.drivers import redis_address
from callboard.stores import mask_url, scheme_of


@pytest.mark.parametrize(("url", "scheme", "arguments"), [
    ("redis://", "redis", {"host": "localhost", "port": 6379, "db": 0}),
    ("redis://h:7000/3", "redis", {"host": "h", "port": 7000, "db": 3}),
    ("redis://u%40x:p%2Fw@h", "redis", {"host": "h", "username": "u@x", "password": "p/w"}),
    ("redis://:secret@h", "redis", {"password": "secret"}),
    ("redis://[::1]:7000", "redis", {"host": "::1", "port": 7000}),
    ("rediss://h?ca=/ca.pem&cert=/c.pem&key=/k.pem", "rediss",
     {"ssl_ca_certs": "/ca.pem", "ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"}),
    ("redis+unix:///run/r.sock?db=2", "redis+unix", {"path": "/run/r.sock", "db": 2}),
    ("unix://:secret@/run/my%20r.sock", "redis+unix", {"path": "/run/my r.sock", "password": "secret"}),
])
def test_what_an_address_says(url: str, scheme: str, arguments: dict[str, object]):
    found = parse_address(url)
    assert found.scheme == scheme
    assert arguments.items() <= found.arguments.items()
    assert found.name == "callboard"


def test_a_name_is_another_installation():
    assert parse_address("redis://h?name=billing").name == "billing"


@pytest.mark.parametrize("url", [
    "http://h", "redis://h:port", "redis://h:99999", "redis://h/db", "redis://h/-1", "redis://h?timeout=5",
    "redis://h?ca=/ca.pem", "redis://h?name=", "redis://h?name={x}", "redis://h?name=a b", "redis+unix://", "unix://host/x",
    "redis+unix:///x?retry_on_timeout=1", "rediss://h?ssl_cert_reqs=none",
])
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(InvalidArgument):
        parse_address(url)


def test_no_password_is_shown():
    for url in ("redis://u:canary@h", "unix://:canary@/run/r.sock", "rediss://:canary@h/1"):
        found = parse_address(url)
        assert "canary" not in f"{found} {found!r} {found.shown} {mask_url(url)}"


@pytest.mark.parametrize("environ", [
    {}, {"QUEUE_REDIS_HOST": "/run/r.sock", "QUEUE_REDIS_PASSWORD": "p w"}, {"QUEUE_REDIS_HOST": "::1"},
])
def test_the_drivers_addresses_are_addresses(environ: dict[str, str]):
    url = redis_address(environ)
    parse_address(url)
    assert scheme_of(url, "store") in {"redis", "unix"}


def test_without_redis_py_the_remedy_is_told():
    code = ("import sys, importlib.util as u; real = u.find_spec; "
            "u.find_spec = lambda name, *more: None if name == 'redis' else real(name, *more); "
            "from callboard.core.errors import UsageError\n"
            "try:\n    import callboard.backends.store.redis\n"
            "except UsageError as error:\n    print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install callboard[redis]" in done.stdout

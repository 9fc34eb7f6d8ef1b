"""bootstrap/drivers.py: an address from QUEUE_REDIS_*."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.errors import InvalidArgument
from callboard.drivers import redis_address

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


@pytest.mark.parametrize(("environ", "address"), [
    ({}, "redis://localhost:6379/0"),
    ({"QUEUE_REDIS_HOST": "", "QUEUE_REDIS_PORT": "", "QUEUE_REDIS_DB": ""}, "redis://localhost:6379/0"),
    ({"QUEUE_REDIS_HOST": "r1", "QUEUE_REDIS_PORT": "6380", "QUEUE_REDIS_DB": "3"}, "redis://r1:6380/3"),
    ({"QUEUE_REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
    ({"QUEUE_REDIS_HOST": "/run/redis.sock", "QUEUE_REDIS_DB": "2"}, "unix:///run/redis.sock?db=2"),
])
def test_the_variables_make_an_address(environ, address):
    assert redis_address(environ) == address


@given(TEXT)
def test_any_password_survives(password):
    assert unquote(urlsplit(redis_address({"QUEUE_REDIS_PASSWORD": password})).password or "") == password


@pytest.mark.parametrize(("name", "text"), [
    ("QUEUE_REDIS_PORT", "http"), ("QUEUE_REDIS_PORT", "0"), ("QUEUE_REDIS_PORT", "70000"), ("QUEUE_REDIS_DB", "-1"),
    ("QUEUE_REDIS_DB", "\u0663"),
])
def test_a_wrong_number_names_its_variable(name, text):
    with pytest.raises(InvalidArgument, match=name):
        redis_address({name: text})

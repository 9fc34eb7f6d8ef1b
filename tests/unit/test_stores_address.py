"""bootstrap/stores.py: which addresses are a store's, which a cluster's, and how they are shown."""

from __future__ import annotations

import pytest

from callboard.core.errors import UnknownOption
from callboard.stores import STORE_SCHEMES, mask_url, scheme_of


@pytest.mark.parametrize("scheme", STORE_SCHEMES)
def test_each_stores_address_is_a_clusters_too(scheme: str):
    assert scheme_of(f"{scheme}://h", "store") == scheme_of(f"{scheme}://h", "cluster") == scheme


@pytest.mark.parametrize("scheme", ["etcd", "consul", "zookeeper"])
def test_a_service_that_keeps_no_jobs_is_no_store(scheme: str):
    with pytest.raises(UnknownOption, match=f"{scheme}:// keeps no jobs"):
        scheme_of(f"{scheme}://h", "store")


def test_what_is_unknown_is_told_what_is_near():
    with pytest.raises(UnknownOption, match="did you mean 'redis'"):
        scheme_of("redi://h", "cluster")


@pytest.mark.parametrize(("url", "shown"), [
    ("redis://u:canary@h:6379/1", "redis://u:***@h:6379/1"),
    ("etcd://u:canary@h1:2379,h2:2379/?name=x", "etcd://u:***@h1:2379,h2:2379/?name=x"),
    ("unix://:canary@/run/r.sock", "unix://:***@/run/r.sock"),
    ("consul://h:8500", "consul://h:8500"),
    ("consul://canary@h1:8500,h2:8500?name=x", "consul://***@h1:8500,h2:8500?name=x"),
    ("consuls://:canary@h", "consuls://***@h"),
    ("postgresql://u@h/db", "postgresql://u@h/db"),
    ("redis://u:can@ary@[::1]:7000", "redis://u:***@[::1]:7000"),
])
def test_an_address_is_shown_without_its_password(url: str, shown: str):
    assert mask_url(url) == shown

"""The cluster on ZooKeeper: what others write into its nodes, and its bounds."""

import threading

import pytest
import zookeeperkit as kit
from kit import eventually

from callboard.backends.cluster.zookeeper import messages
from callboard.backends.cluster.zookeeper.layout import hashed
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable

WAIT_S = 20.0
address, opened = kit.address, kit.opened


def test_nodes_that_are_none_of_ours_are_left_out_with_a_warning_and_hold_nobody_up(opened, address, caplog):
    cluster = opened()
    cluster.register(kit.node(), 30.0)
    root = f"{kit.base(address)}/{cluster.cluster_id}"
    with kit.another(address) as client:
        for n, data in enumerate((b"", b"\xff" * 100, b"x" * 100_000, b"\x93\xa1x\x01\xc4\x00")):
            client.create(f"{root}/members/hostile-{n}", data, ephemeral=bool(n % 2))
        client.create(f"{root}/locks/{hashed('k')}", b"junk")
        client.create(f"{root}/term/now", b"junk")
        client.create(f"{root}/messages/other", b"junk")
        assert cluster.nodes() == (kit.node(),)
        assert "none of ours" in caplog.text
        assert cluster.leader() is None
        first = cluster.acquire_lock("k", "h", 30.0)
        assert first is not None
        assert opened().acquire_lock("k", "other", 30.0) is None
        term = cluster.campaign("A", 30.0)
        assert cluster.leader() == term
        assert cluster.renew(term, 30.0) is True
        client.create(f"{root}/locks/{hashed('deep')}/below", b"", makepath=True)
        with pytest.raises(ClusterUnavailable, match="in the way"):
            cluster.acquire_lock("deep", "h", 30.0)


def test_who_sees_the_same_leftover_replaces_it_once(opened, address):
    clusters, rounds = [opened() for _ in range(4)], 5
    root = f"{kit.base(address)}/{clusters[0].cluster_id}"
    with kit.another(address) as client:
        for n in range(rounds):
            client.create(f"{root}/locks/{hashed(f'k{n}')}", b"junk")
            gate, tokens = threading.Barrier(4), []

            def take(cluster, holder, key=f"k{n}", gate=gate, tokens=tokens):
                gate.wait(WAIT_S)
                tokens.append(cluster.acquire_lock(key, holder, 30.0))

            threads = [threading.Thread(target=take, args=(one, f"h{k}")) for k, one in enumerate(clusters)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT_S)
            assert sum(token is not None for token in tokens) == 1


def test_a_lock_whose_grant_was_deleted_is_released_and_taken_all_the_same(opened, address):
    cluster = opened()
    token = cluster.acquire_lock("k", "h", 30.0)
    with kit.another(address) as client:
        root = f"{kit.base(address)}/{cluster.cluster_id}"
        for name in client.get_children(f"{root}/grants"):
            client.delete(f"{root}/grants/{name}")
    again = cluster.acquire_lock("k", "h", 30.0)
    assert again.number == token.number or again.number > token.number
    assert cluster.release_lock(again) is True
    assert opened().acquire_lock("k", "other", 30.0).number > again.number


def test_a_broadcast_over_the_limit_is_left_out_and_the_next_arrives(opened, address):
    cluster, got = opened(), []
    cluster.subscribe(got.append)
    with kit.another(address) as client:
        root = f"{kit.base(address)}/{cluster.cluster_id}"
        client.create(f"{root}/messages/m-", b"x" * (BROADCAST_MAX_BYTES + 1), sequence=True)
    cluster.broadcast(b"next")
    assert eventually(lambda: got, WAIT_S, "a broadcast arrives") == [b"next"]


# Bounds


def names(address, cluster):
    with kit.another(address) as client:
        return sorted(client.get_children(f"{kit.base(address)}/{cluster.cluster_id}/messages"))


def test_broadcasts_are_capped_by_number_and_by_age(opened, address, monkeypatch):
    monkeypatch.setattr(messages, "MESSAGES_MAX", 20)
    cluster = opened()
    for n in range(60):
        cluster.broadcast(b"%d" % n)
    eventually(lambda: len(names(address, cluster)) == 20, WAIT_S, "the oldest are gone")
    monkeypatch.setattr(messages, "MESSAGES_AGE_S", -1.0)
    monkeypatch.setattr(messages, "SWEEP_S", 0.0)
    cluster.broadcast(b"new")
    eventually(lambda: names(address, cluster) == [], WAIT_S, "those over the age are gone")

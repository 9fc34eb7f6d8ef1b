"""Every cluster backend: what nodes and programs that came and went have left there, ends."""

from __future__ import annotations

import threading
import time

import cluster_kit
from cluster_kit import ClusterRig, Inbox, info
from kit import eventually

rig = cluster_kit.rig

CAME = 6
"""Nodes that come and go; each leaves a member, a term or a lock behind in some way."""
MARGIN_S = 15.0


def come_and_go(rig: ClusterRig, number: int) -> None:
    """One node's life: odd ones leave in good order, even ones as if they had been killed."""
    node, orderly = rig.place.open(), number % 2 == 1
    owner = f"boot-{number}"
    inbox = Inbox(rig, node)
    watch = node.watch(lambda: None)
    node.register(info(f"n{number}", owner), rig.ttl_s)
    term = rig.win(node, owner)
    lock = node.acquire_lock(f"job-{number}", owner, rig.ttl_s)
    assert lock is not None
    node.broadcast(b"hello")
    inbox.wait(1)
    assert node.release_lock(lock)
    if orderly:
        node.resign(term)
        node.unregister(owner)
    watch.close()
    inbox.bell.close()
    if rig.place.shared:
        node.close()


def settled(rig: ClusterRig) -> int:
    """How much is there once everything of theirs has expired: a living node goes on acting, which tidies up."""
    assert rig.place.kept is not None, f"{rig.place.name} must say what it keeps"
    rig.told(rig.a, lambda: rig.a.leader() is None, "no term is in force")
    term = rig.win(rig.a, "boot-alive")
    rig.a.resign(term)
    rig.a.register(info("alive", "boot-alive"), 60.0)
    members = eventually(lambda: (found := rig.a.nodes()) and len(found) == 1 and found, MARGIN_S, "others expired")
    assert members[0].node == "alive"
    rig.a.register(info("alive", "boot-alive", pid=int(time.monotonic())), 60.0)
    return rig.place.kept()


def test_what_nodes_left_behind_ends(rig: ClusterRig):
    come_and_go(rig, 0)
    least = settled(rig)
    for number in range(1, CAME + 1):
        come_and_go(rig, number)
    settled(rig)
    eventually(lambda: rig.place.kept() <= least, MARGIN_S, f"no more than the {least} keys or rows of the beginning")


def test_clients_leave_no_thread(rig: ClusterRig):
    come_and_go(rig, 1)
    before = threading.active_count()
    for number in (3, 5, 7):
        come_and_go(rig, number)
    eventually(lambda: threading.active_count() <= before, MARGIN_S, "their threads have ended")

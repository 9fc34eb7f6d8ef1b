"""Every cluster backend: nodes are members until they leave or are not heard of."""

import math
import threading
from dataclasses import replace

import cluster_kit
import pytest
from cluster_kit import ClusterRig, info

from callboard.core.errors import InvalidArgument

rig = cluster_kit.rig


def test_members_are_seen_by_all_with_everything_they_say_of_themselves(rig: ClusterRig):
    assert rig.a.nodes() == ()
    one = info("n1", host="h", pid=4_711, version="1.2.3", socket="/run/x", started_ms=1_700_000_000_123)
    two = info("n2")
    rig.a.register(two, 30.0)
    rig.b.register(one, 30.0)
    assert rig.a.nodes() == rig.b.nodes() == (one, two)


def test_who_leaves_is_no_member_and_leaving_twice_is_harmless(rig: ClusterRig):
    rig.a.register(info("n1"), 30.0)
    rig.a.register(info("n2"), 30.0)
    rig.b.unregister("boot-n1")
    rig.b.unregister("boot-n1")
    rig.b.unregister("never-came")
    assert rig.a.nodes() == (info("n2"),)


def test_who_is_not_heard_of_is_no_member_any_more_and_the_watch_tells(rig: ClusterRig):
    rig.a.register(info("n1"), 30.0)
    rig.a.register(info("n2"), rig.ttl_s)
    rig.told(rig.b, lambda: rig.b.nodes() == (info("n1"),), "n2 is gone")


def test_who_registers_again_stays(rig: ClusterRig):
    rig.a.register(info("n1"), rig.ttl_s)
    rig.a.register(info("n1"), 30.0)
    rig.a.register(info("n2"), rig.ttl_s)
    rig.told(rig.b, lambda: rig.b.nodes() == (info("n1"),), "n2 is gone, n1 is not")


def test_the_watch_tells_who_comes_goes_and_changes(rig: ClusterRig):
    rig.a.register(info("n1"), 30.0)
    rig.told(rig.b, lambda: rig.b.nodes() == (info("n1"),), "n1 came")
    rig.a.register(info("n1", host="elsewhere"), 30.0)
    rig.told(rig.b, lambda: rig.b.nodes() == (info("n1", host="elsewhere"),), "n1 changed")
    rig.a.unregister("boot-n1")
    rig.told(rig.b, lambda: rig.b.nodes() == (), "n1 left")


def test_a_watch_that_was_there_before_is_told_of_each_change(rig: ClusterRig):
    hint = threading.Event()
    rig.b.watch(hint.set)
    assert hint.wait(rig.wait_s), "a watch is called once soon"
    for change in (lambda: rig.a.register(info("n1"), 30.0), lambda: rig.a.register(info("n2"), 30.0),
                   lambda: rig.a.register(info("n1", host="elsewhere"), 30.0), lambda: rig.a.unregister("boot-n2")):
        hint.clear()
        change()
        assert hint.wait(rig.wait_s)


def test_two_lives_of_one_name_are_two_members(rig: ClusterRig):
    rig.a.register(info("n1", "boot-1"), 30.0)
    rig.a.register(info("n1", "boot-2"), 30.0)
    assert {member.boot_id for member in rig.a.nodes()} == {"boot-1", "boot-2"}


def test_two_hundred_nodes(rig: ClusterRig):
    everyone = tuple(info(f"n{n:03}", host="host-" + "x" * 100) for n in range(200))
    for n, node in enumerate(everyone):
        (rig.a if n % 2 else rig.b).register(node, 60.0)
    assert rig.a.nodes() == rig.b.nodes() == everyone
    for node in everyone[::2]:
        rig.a.unregister(node.boot_id)
    assert rig.b.nodes() == everyone[1::2]


@pytest.mark.parametrize("value", ["..", "/a//b", "'; DROP TABLE x; --", "ключ", "🔑", "⁂" * 255, "%s{}", "a b"])
def test_hostile_values_come_back_as_they_went(rig: ClusterRig, value):
    node = info(value, value, host=value, version=value, socket=value)
    rig.a.register(node, 30.0)
    assert rig.b.nodes() == (node,)
    rig.b.unregister(value)
    assert rig.a.nodes() == ()


@pytest.mark.parametrize("bad", ["x" * 256, "a\nb", "a\0b", "\udc80"])
@pytest.mark.parametrize("field", ["node", "boot_id", "host", "version", "socket"])
def test_what_is_no_name_is_refused(rig: ClusterRig, field, bad):
    with pytest.raises(InvalidArgument):
        rig.a.register(replace(info(), **{field: bad}), 30.0)
    assert rig.a.nodes() == ()


@pytest.mark.parametrize(
    ("field", "bad"), [("pid", -1), ("pid", 2**70), ("started_ms", 2**70), ("node", ""), ("boot_id", "")]
)
def test_what_is_out_of_range_is_refused(rig: ClusterRig, field, bad):
    with pytest.raises(InvalidArgument):
        rig.a.register(replace(info(), **{field: bad}), 30.0)
    assert rig.a.nodes() == ()


@pytest.mark.parametrize("ttl_s", [0, -1, math.nan, math.inf, 1e9])
def test_a_ttl_out_of_range_is_refused(rig: ClusterRig, ttl_s):
    with pytest.raises(InvalidArgument):
        rig.a.register(info(), ttl_s)
    assert rig.a.nodes() == ()

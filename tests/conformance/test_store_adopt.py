"""A store that is given to another cluster, or to another coordination service, on an operator's order."""

from __future__ import annotations

import pytest
from storekit import Rig, claim

from callboard.core.errors import StaleEpoch, TermRefused
from callboard.core.records import Plan

OTHERS = pytest.mark.parametrize(("cluster_id", "backend"), [("c2", "memory"), ("c1", "etcd"), ("c2", "etcd")])


@OTHERS
def test_another_cluster_is_refused_before_and_welcome_after(rig: Rig, cluster_id: str, backend: str):
    rig.store.begin_term(claim(7))
    new = claim(1, "boot-2", cluster_id, backend)
    with pytest.raises(TermRefused):
        rig.store.begin_term(new)
    rig.store.adopt(cluster_id, backend)
    epoch = rig.store.begin_term(new)
    assert epoch == (2, "boot-2")
    assert rig.store.fence() == (2, "boot-2", cluster_id, backend, 1)
    assert rig.store.begin_term(new) == epoch, "sent again"


def check_the_old_cluster_is_out(rig: Rig, cluster_id: str = "c2", backend: str = "etcd") -> None:
    old = rig.store.begin_term(claim(7))
    rig.store.adopt(cluster_id, backend)
    for again in (claim(7), claim(8), claim(8, "boot-2")):
        with pytest.raises(TermRefused):
            rig.store.begin_term(again)
    fence = rig.store.fence()
    assert (fence.epoch, fence.owner, fence.cluster_id, fence.backend) == (1, "boot-1", cluster_id, backend)
    rig.store.assign(old, Plan())  # its leader goes on until another one leads
    rig.store.begin_term(claim(1, "boot-2", cluster_id, backend))
    with pytest.raises(StaleEpoch):
        rig.store.assign(old, Plan())
    with pytest.raises(TermRefused):
        rig.store.begin_term(claim(9))


@OTHERS
def test_the_old_cluster_is_out(rig: Rig, cluster_id: str, backend: str):
    check_the_old_cluster_is_out(rig, cluster_id, backend)


def test_terms_grow_again_after_it(rig: Rig):
    rig.store.begin_term(claim(7))
    rig.store.adopt("c2", "etcd")
    rig.store.begin_term(claim(3, "x", "c2", "etcd"))
    for number, owner in ((2, "x"), (3, "y")):
        with pytest.raises(TermRefused):
            rig.store.begin_term(claim(number, owner, "c2", "etcd"))
    assert rig.store.begin_term(claim(4, "y", "c2", "etcd")) == (3, "y")


def test_a_coordination_service_that_was_emptied_may_begin_anew(rig: Rig):
    rig.store.begin_term(claim(7))
    with pytest.raises(TermRefused):
        rig.store.begin_term(claim(1))
    rig.store.adopt("c1", "memory")
    assert rig.store.begin_term(claim(1)) == (2, "boot-1")


def test_the_same_term_again_is_another_epoch(rig: Rig):
    old = rig.store.begin_term(claim(7))
    rig.store.adopt("c1", "memory")
    assert rig.store.begin_term(claim(7)).number == old.number + 1
    with pytest.raises(StaleEpoch):
        rig.store.survey(old, 1)


def test_the_last_order_counts(rig: Rig):
    rig.store.begin_term(claim(7))
    rig.store.adopt("c2", "etcd")
    rig.store.adopt("c3", "etcd")
    rig.store.adopt("c3", "etcd")
    with pytest.raises(TermRefused):
        rig.store.begin_term(claim(1, "x", "c2", "etcd"))
    assert rig.store.begin_term(claim(1, "x", "c3", "etcd")).number == 2


def test_a_new_store_may_be_given_away(rig: Rig):
    rig.store.adopt("c2", "etcd")
    with pytest.raises(TermRefused):
        rig.store.begin_term(claim(5))
    assert rig.store.begin_term(claim(5, "x", "c2", "etcd")) == (1, "x")


def test_jobs_stay(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    taken = rig.run_one(session)
    rig.store.adopt("c2", "etcd")
    epoch = rig.store.begin_term(claim(1, "x", "c2", "etcd"))
    rig.succeed(session, taken)
    assert rig.store.survey(epoch, 10).ready == {"q": 1}

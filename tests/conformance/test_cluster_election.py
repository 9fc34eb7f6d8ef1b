"""Every cluster backend: one term at a time, whose number only grows, and which only its holder keeps or ends."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cluster_kit
import pytest
from cluster_kit import ClusterRig, leads

from callboard.core.errors import ClusterUnavailable, InvalidArgument

rig = cluster_kit.rig


def test_one_of_two_contenders_wins_and_both_see_who(rig: ClusterRig):
    assert rig.a.leader() is None
    term = rig.a.campaign("A", 30.0)
    assert term is not None
    assert term.owner == "A"
    assert term.number >= 1
    assert 0 < term.ttl_s < math.inf
    assert rig.b.campaign("B", 30.0) is None
    assert leads(rig.a, term)
    assert leads(rig.b, term)


def test_the_owners_own_second_campaign_is_lost_too(rig: ClusterRig):
    assert rig.a.campaign("A", 30.0) is not None
    assert rig.a.campaign("A", 30.0) is None


def test_of_many_at_once_one_wins(rig: ClusterRig):
    gate = threading.Barrier(8)

    def contend(n):
        gate.wait(rig.wait_s)
        return (rig.a if n % 2 else rig.b).campaign(f"node-{n}", 30.0)

    assert rig.a is not None and rig.b is not None  # noqa: PT018 - opens both before the threads do
    for round_ in range(5):
        with ThreadPoolExecutor(8) as pool:
            won = [term for term in pool.map(contend, range(8)) if term is not None]
        assert len(won) == 1, f"round {round_}"
        rig.a.resign(won[0])


def test_the_loser_is_told_when_the_winner_resigns(rig: ClusterRig):
    first = rig.a.campaign("A", 30.0)
    told = threading.Thread(target=lambda: rig.a.resign(first))
    told.start()
    second = rig.win(rig.b, "B")
    told.join()
    assert second.number > first.number


def test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl(rig: ClusterRig):
    before_s = time.monotonic()
    first = rig.a.campaign("A", rig.ttl_s)
    second = rig.win(rig.b, "B")
    assert time.monotonic() - before_s >= rig.ttl_s * 0.95
    assert second.number > first.number
    assert leads(rig.a, second)


def test_a_term_that_is_renewed_stays(rig: ClusterRig):
    term = rig.a.campaign("A", rig.ttl_s)
    end_s = time.monotonic() + 2.5 * term.ttl_s
    renewed = threading.Event()
    while time.monotonic() < end_s:
        assert rig.a.renew(term, rig.ttl_s)
        assert rig.b.campaign("B", rig.ttl_s) is None
        renewed.wait(rig.ttl_s / 8)
    assert leads(rig.b, term)


def test_a_renewal_counts_from_when_it_was_made(rig: ClusterRig):
    term = rig.a.campaign("A", 30.0)
    assert rig.a.renew(term, rig.ttl_s)
    rig.told(rig.b, lambda: rig.b.leader() is None, "the term is over")


def test_a_renewal_after_the_end_is_refused_even_if_nobody_else_leads(rig: ClusterRig):
    term = rig.a.campaign("A", rig.ttl_s)
    rig.told(rig.a, lambda: rig.a.leader() is None, "the term is over")
    assert rig.a.renew(term, rig.ttl_s) is False
    assert rig.a.leader() is None


def test_a_deposed_leader_can_neither_renew_nor_end_its_successors_term(rig: ClusterRig):
    old = rig.a.campaign("A", rig.ttl_s)
    new = rig.win(rig.b, "B", 30.0)
    assert rig.a.renew(old, 30.0) is False
    rig.a.resign(old)
    assert leads(rig.b, new)
    assert rig.b.renew(new, 30.0) is True


def test_an_old_term_of_the_same_owner_does_not_end_its_new_one(rig: ClusterRig):
    old = rig.a.campaign("A", 30.0)
    rig.a.resign(old)
    new = rig.win(rig.a, "A", 30.0)
    rig.a.resign(old)
    assert rig.a.renew(old, 30.0) is False
    assert rig.a.renew(new, 30.0) is True


def test_a_resignation_sent_again_is_harmless(rig: ClusterRig):
    term = rig.a.campaign("A", 30.0)
    rig.a.resign(term)
    rig.a.resign(term)
    assert rig.a.leader() is None


def test_a_term_that_was_never_granted_neither_renews_nor_resigns(rig: ClusterRig):
    term = rig.a.campaign("A", 30.0)
    for forged in (term._replace(handle=term.handle + "0"), term._replace(number=term.number + 1),
                   term._replace(owner="B", handle="x"), term._replace(number=2**70), term._replace(handle=""),
                   term._replace(handle="'; DROP TABLE x; --")):
        assert rig.b.renew(forged, 30.0) is False
        rig.b.resign(forged)
    assert leads(rig.b, term)


def test_what_is_seen_is_the_backends_state_and_no_memory_of_it(rig: ClusterRig):
    term = rig.a.campaign("A", rig.ttl_s)
    assert leads(rig.a, term)
    new = rig.win(rig.b, "B", 30.0)
    assert leads(rig.a, new)
    rig.b.resign(new)
    assert rig.a.leader() is None


@pytest.mark.parametrize("after", ["resign", "expire", "reopen", "wipe", "reopen and wipe"])
def test_numbers_only_grow_whatever_ended_the_term(rig: ClusterRig, after):
    numbers = []
    for _ in range(3):
        term = rig.win(rig.a, "A", rig.ttl_s if after == "expire" else 30.0)
        numbers.append(term.number)
        if after == "expire":
            continue
        if "wipe" in after and rig.place.wipe is not None:
            rig.place.wipe()
        else:
            rig.a.resign(term)
        if "reopen" in after:
            rig.reopen()
    assert numbers == sorted(set(numbers))


def test_a_lease_that_was_deleted_is_not_renewed_and_its_successor_has_a_higher_number(rig: ClusterRig):
    if rig.place.wipe is None:
        pytest.skip("nobody can delete this backend's leases")
    term = rig.a.campaign("A", 30.0)
    rig.place.wipe()
    assert rig.a.renew(term, 30.0) is False
    assert rig.win(rig.b, "B").number > term.number


def test_the_cluster_has_one_id_for_all_and_keeps_it(rig: ClusterRig):
    first = rig.a.cluster_id
    assert 0 < len(first) <= 255
    assert rig.b.cluster_id == first
    rig.reopen()
    assert rig.a.cluster_id == first


@pytest.mark.parametrize("ttl_s", [0, -1, 0.001, math.nan, math.inf, 1e9])
def test_a_ttl_out_of_range_is_refused(rig: ClusterRig, ttl_s):
    with pytest.raises(InvalidArgument):
        rig.a.campaign("A", ttl_s)
    term = rig.a.campaign("A", 30.0)
    with pytest.raises(InvalidArgument):
        rig.a.renew(term, ttl_s)
    assert leads(rig.a, term)


@pytest.mark.parametrize("owner", ["", "x" * 256, "a\nb", "a\0b", "\udc80"])
def test_an_owner_that_is_no_name_is_refused(rig: ClusterRig, owner):
    with pytest.raises(InvalidArgument):
        rig.a.campaign(owner, 30.0)
    assert rig.a.leader() is None


def test_a_watch_that_was_closed_is_silent_and_one_that_raises_silences_no_other(rig: ClusterRig):
    closed, heard = threading.Event(), threading.Event()
    ready = threading.Event()

    def fail():
        ready.set()
        raise ValueError("a listener's bug")

    bell = rig.b.watch(closed.set)
    assert closed.wait(rig.wait_s), "a watch is called once soon"
    bell.close()
    bell.close()
    closed.clear()
    rig.b.watch(fail)
    rig.b.watch(heard.set)
    assert ready.wait(rig.wait_s)
    assert heard.wait(rig.wait_s)
    heard.clear()
    term = rig.a.campaign("A", 30.0)
    assert heard.wait(rig.wait_s)
    rig.a.resign(term)
    assert not closed.is_set()


def test_a_closed_backend_refuses_and_closing_twice_is_harmless(rig: ClusterRig):
    rig.a.close()
    rig.a.close()
    for call in (rig.a.leader, rig.a.nodes, lambda: rig.a.campaign("A", 30.0), lambda: rig.a.broadcast(b"x"),
                 lambda: rig.a.acquire_lock("k", "h", 30.0)):
        with pytest.raises(ClusterUnavailable):
            call()


def test_it_says_what_it_guarantees(rig: ClusterRig):
    told = rig.a.characteristics
    assert told.name
    assert told.durable
    assert told.shared
    assert told.limits
    assert all(told.limits)

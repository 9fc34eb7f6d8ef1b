"""What the leader decides, whatever the cluster looks like."""

from __future__ import annotations

import random
import time
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.assignment import Credits, plan
from callboard.core.records import (
    IsolatedJob,
    NodeInfo,
    PoolReport,
    PoolView,
    QueueShare,
    SessionId,
    SessionView,
    Survey,
)

QUEUES = ("a", "b", "c", "d")
LAYOUTS = (
    ({"a": 2, "b": 1},),
    ({"a": 2, "b": 1}, {"c": 1}),
    ({"b": 1, "d": 3},),
    ({"a": 1, "b": 1, "c": 2, "d": 1},),
)


def session(number: int, *pools: tuple[dict[str, int], int, int, int], draining=False, isolating=False) -> SessionView:
    """A session; each pool is (queue to weight, slots, capacity, held)."""
    views = tuple(
        PoolView(PoolReport(next(iter(w)), tuple(QueueShare(q, n) for q, n in w.items()), slots, capacity), held)
        for w, slots, capacity, held in pools
    )
    return SessionView(SessionId(number), NodeInfo(f"n{number}", f"b{number}"), 0, 5.0, views, draining, isolating)


@st.composite
def sessions(draw) -> tuple[SessionView, ...]:
    views = []
    for number in range(1, draw(st.integers(0, 5)) + 1):
        pools = []
        for weights in draw(st.sampled_from(LAYOUTS)):
            slots = draw(st.integers(0, 6))
            capacity = 0 if slots == 0 else slots + draw(st.integers(0, 20))
            pools.append((weights, slots, capacity, draw(st.integers(0, capacity + 2))))
        flags = draw(st.sampled_from([(False, False)] * 4 + [(True, False), (False, True)]))
        views.append(session(number, *pools, draining=flags[0], isolating=flags[1]))
    return tuple(views)


ready_counts = st.dictionaries(st.sampled_from(QUEUES), st.integers(0, 60))
isolated_jobs = st.lists(st.sampled_from(QUEUES), max_size=3).map(
    lambda queues: tuple(IsolatedJob(i, f"i{i}", queue) for i, queue in enumerate(queues))
)
surveys = st.builds(Survey, sessions(), ready_counts, isolated_jobs)


def pool_of(survey: Survey, part) -> PoolView:
    """The one pool that an assignment names; fails where there is none, or more."""
    (view,) = [view for view in survey.sessions if view.session == part.session]
    (pool,) = [pool for pool in view.pools if pool.report.name == part.pool]
    return pool


@given(surveys, st.integers(1, 200), st.integers(1, 4))
def test_no_limit_is_ever_exceeded(survey, max_batch, rounds):
    kept = Credits()
    for _ in range(rounds):
        decided, kept = plan(survey, kept, max_batch=max_batch)
        by_pool, by_queue = Counter(), Counter()
        for part in decided.assignments:
            assert part.count > 0
            assert part.queue in {share.queue for share in pool_of(survey, part).report.queues}
            by_pool[part.session, part.pool] += part.count
            by_queue[part.queue] += part.count
        for part in decided.assignments:
            pool = pool_of(survey, part)
            assert pool.held + by_pool[part.session, part.pool] <= pool.report.capacity
        assert all(count <= survey.ready.get(queue, 0) for queue, count in by_queue.items())
        assert by_queue.total() + len(decided.isolated) <= max_batch
        closed = {view.session for view in survey.sessions if view.draining or view.isolating}
        assert not closed & {part.session for part in (*decided.assignments, *decided.isolated)}


@given(surveys, st.integers(1, 200))
def test_no_free_slot_stays_idle_beside_ready_work(survey, max_batch):
    decided, kept = plan(survey, Credits(), max_batch=max_batch)
    left = Counter(survey.ready)
    given_to = Counter()
    for part in decided.assignments:
        left[part.queue] -= part.count
        given_to[part.session, part.pool] += part.count
    if sum(given_to.values()) + len(decided.isolated) == max_batch:
        return
    kept_free = kept.turns.emptying | {part.session for part in decided.isolated}
    for view in survey.sessions:
        if view.draining or view.isolating or view.session in kept_free:
            continue
        for pool in view.pools:
            if pool.held + given_to[view.session, pool.report.name] < pool.report.capacity:
                assert all(left[share.queue] <= 0 for share in pool.report.queues)


@given(surveys, st.integers(1, 200))
def test_the_same_values_give_the_same_plan(survey, max_batch):
    assert plan(survey, Credits(), max_batch=max_batch) == plan(survey, Credits(), max_batch=max_batch)


alike = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 12), st.integers(0, 20)).map(
        lambda t: ({"a": 2, "b": 1}, t[0], t[0] + t[1], min(t[2], t[0] + t[1]))
    ),
    min_size=1,
    max_size=6,
)


@given(alike, ready_counts, st.integers(1, 200), st.integers(0, 7))
def test_load_is_even_relative_to_slots_and_idle_slots_go_first(pools, ready, max_batch, turn):
    survey = Survey(tuple(session(i, pool) for i, pool in enumerate(pools, 1)), ready)
    decided, _ = plan(survey, Credits(round=turn), max_batch=max_batch)
    got = Counter()
    for part in decided.assignments:
        got[part.session] += part.count
    after = [(slots, capacity, held + got[i], got[i]) for i, (_, slots, capacity, held) in enumerate(pools, 1)]
    for slots, _, load, count in after:
        if not count:
            continue
        for other_slots, other_capacity, other_load, _ in after:
            if other_load < other_capacity:
                step = max(1 / slots, 1 / other_slots)
                assert (load - 1) / slots <= other_load / other_slots + step
                assert load <= slots or other_load >= other_slots, "prefetch beside an idle slot"


def test_idle_slots_go_first_also_among_pools_that_serve_different_queues():
    busy = session(1, ({"a": 1}, 4, 40, 4))
    idle = session(2, ({"a": 1, "b": 1}, 4, 40, 0))
    for turn in range(2):
        decided, _ = plan(Survey((busy, idle), {"a": 4}), Credits(round=turn), max_batch=100)
        assert [(part.session, part.count) for part in decided.assignments] == [(2, 4)]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(QUEUES), st.integers(1, 9), min_size=2), st.integers(0, 2**32))
def test_shares_converge_to_the_weights_whatever_the_rounds(weights, seed):
    rng = random.Random(seed)
    got, kept, pools = Counter(), Credits(), rng.randint(1, 3)
    for _ in range(150):
        free = [rng.randint(0, 3) for _ in range(pools)]
        survey = Survey(
            tuple(session(i, (weights, 4, 4, 4 - n)) for i, n in enumerate(free, 1)), dict.fromkeys(weights, 1000)
        )
        decided, kept = plan(survey, kept, max_batch=rng.randint(1, 5))
        for part in decided.assignments:
            got[part.queue] += part.count
    total = got.total()
    for queue, weight in weights.items():
        assert abs(got[queue] - total * weight / sum(weights.values())) <= 2


def test_one_slot_at_a_time_is_shared_by_weight():
    kept, order = Credits(), ""
    for _ in range(8):
        decided, kept = plan(Survey((session(1, ({"a": 3, "b": 1}, 1, 1, 0)),), {"a": 9, "b": 9}), kept, max_batch=10)
        order += decided.assignments[0].queue
    assert order == "abaaabaa"


def test_each_pool_gets_each_queue_over_time():
    kept, got = Credits(), Counter()
    for _ in range(100):
        survey = Survey(tuple(session(i, ({"a": 1, "b": 1}, 1, 1, 0)) for i in (1, 2)), {"a": 9, "b": 9})
        decided, kept = plan(survey, kept, max_batch=10)
        got.update((part.session, part.queue) for part in decided.assignments)
    assert set(got.values()) == {50}


def test_a_queue_without_work_gives_its_share_away_and_saves_nothing_up():
    kept = Credits()
    one = session(1, ({"a": 1, "b": 1}, 1, 1, 0))
    for _ in range(50):
        decided, kept = plan(Survey((one,), {"a": 9, "b": 0}), kept, max_batch=10)
        assert decided.assignments[0].queue == "a"
    order = ""
    for _ in range(6):
        decided, kept = plan(Survey((one,), {"a": 9, "b": 9}), kept, max_batch=10)
        order += decided.assignments[0].queue
    assert order in {"bababa", "bbabab", "ababab"}


def test_a_flood_in_one_pool_starves_no_other_when_the_batch_is_short():
    kept, got = Credits(), Counter()
    for _ in range(40):
        survey = Survey((session(1, ({"a": 1}, 100, 100, 0), ({"b": 1}, 1, 1, 0)),), {"a": 1000, "b": 5})
        decided, kept = plan(survey, kept, max_batch=10)
        got.update(part.queue for part in decided.assignments)
    assert got["b"] >= 20


def test_hostile_reports_break_nothing():
    shares = (QueueShare("a", -5), QueueShare("a", 0), QueueShare("a"))
    view = SessionView(SessionId(1), NodeInfo("n", "b"), 0, 5.0, (PoolView(PoolReport("a", shares, -3, 10), 0),))
    decided, _ = plan(Survey((view,), {"a": 7, "b": -4}), Credits(), max_batch=100)
    assert [(part.queue, part.count) for part in decided.assignments] == [("a", 7)]


def test_a_thousand_nodes_and_a_hundred_queues_are_decided_quickly():
    shares = {f"q{i}": 1 + i % 3 for i in range(100)}
    cluster = tuple(session(i, (shares, 10, 10, 0)) for i in range(1000))
    survey, kept, best = Survey(cluster, dict.fromkeys(shares, 1000)), Credits(), 0.0
    for _ in range(3):
        start = time.perf_counter()
        decided, kept = plan(survey, kept, max_batch=100_000)
        jobs = sum(part.count for part in decided.assignments)
        best = max(best, jobs / (time.perf_counter() - start))
    assert jobs == 10_000
    assert best > 50_000

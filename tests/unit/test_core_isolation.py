"""Jobs that lost two nodes run alone on a node, and nothing starves for them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.assignment import Credits, plan
from callboard.core.isolation import Turns
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


def session(number: int, held=0, capacity=4, queues="a", *, draining=False, isolating=False) -> SessionView:
    report = PoolReport(queues[0], tuple(QueueShare(queue) for queue in queues), 4, capacity)
    info = NodeInfo(f"n{number}", f"b{number}")
    return SessionView(SessionId(number), info, 0, 5.0, (PoolView(report, held),), draining, isolating)


def bad(*numbers: int, queue="a") -> tuple[IsolatedJob, ...]:
    return tuple(IsolatedJob(number, f"bad{number}", queue) for number in numbers)


def decide(survey: Survey, turns: Turns | None = None):
    return plan(survey, Credits(turns=turns or Turns()), max_batch=100)


def test_an_empty_session_gets_exactly_one_and_nothing_else():
    decided, kept = decide(Survey((session(1), session(2)), {"a": 100}, bad(1, 2)))
    assert [(part.session, part.pool, part.job.id) for part in decided.isolated] == [(1, "a", "bad1")]
    assert {part.session for part in decided.assignments} == {2}
    assert kept.turns == Turns(frozenset(), frozenset({SessionId(1)}))


def test_the_least_loaded_session_is_emptied_while_the_others_go_on():
    sessions = (session(1, held=3), session(2, held=1), session(3, held=2))
    decided, kept = decide(Survey(sessions, {"a": 100}, bad(1, 2)))
    assert not decided.isolated
    assert {part.session for part in decided.assignments} == {1, 3}
    assert kept.turns.emptying == {2}


def test_a_session_that_is_being_emptied_stays_chosen():
    sessions = (session(1, held=1), session(2, held=2), session(3, held=4))
    _, kept = decide(Survey(sessions, {"a": 100}, bad(1)), Turns(emptying=frozenset({SessionId(2)})))
    assert kept.turns.emptying == {2}


def test_a_session_is_released_when_no_isolated_job_waits_any_more():
    decided, kept = decide(Survey((session(1, held=1),), {"a": 100}), Turns(emptying=frozenset({SessionId(1)})))
    assert [part.count for part in decided.assignments] == [3]
    assert kept.turns == Turns()


def test_only_a_session_that_serves_its_queue_and_takes_work_is_chosen():
    sessions = (
        session(1, queues="b"),
        session(2, draining=True),
        session(3, capacity=0),
        session(4, isolating=True),
        session(5, held=4),
        session(6, held=4),
        session(7, held=4),
    )
    _, kept = decide(Survey(sessions, {}, bad(1)))
    assert kept.turns.emptying == {5}


def test_at_most_half_of_a_queue_s_sessions_are_taken():
    sessions = (session(1, queues="ab"), session(2, queues="ab"), *(session(n, queues="b") for n in range(3, 9)))
    decided, _ = decide(Survey(sessions, {"b": 100}, bad(1, 2) + bad(3, 4, 5, 6, queue="b")))
    assert sum(part.job.queue == "a" for part in decided.isolated) == 1
    assert len(decided.isolated) == 4


def test_at_most_half_of_all_sessions_are_taken():
    sessions = (session(1), session(2, queues="b"))
    decided, _ = decide(Survey(sessions, {"a": 5, "b": 5}, bad(1) + bad(2, queue="b")))
    assert [part.session for part in decided.isolated] == [1]
    assert {part.session for part in decided.assignments} == {2}


def test_a_session_rests_after_an_isolated_job_only_where_other_work_is_ready():
    served = Turns(served=frozenset({SessionId(1)}))
    decided, _ = decide(Survey((session(1),), {"a": 5}, bad(1)), served)
    assert decided.assignments
    assert not decided.isolated
    decided, _ = decide(Survey((session(1),), {"z": 5}, bad(1)), served)
    assert decided.isolated


def test_the_batch_counts_isolated_jobs_too():
    sessions = (session(1), session(2))
    decided, _ = plan(Survey(sessions, {"a": 5}, bad(1)), Credits(), max_batch=3)
    assert len(decided.isolated) + sum(part.count for part in decided.assignments) == 3


def test_nothing_is_chosen_where_the_queue_is_not_served():
    decided, kept = decide(Survey((session(1),), {"a": 1}, bad(1, queue="z")))
    assert not decided.isolated
    assert [part.count for part in decided.assignments] == [1]
    assert kept.turns == Turns()


def test_one_session_alternates_a_filling_and_an_isolated_job():
    """The whole story of one node: what it runs, by letters; nothing runs beside an isolated job."""
    story, kept, held, isolating, waiting = "", Credits(), 0, False, 3
    for _ in range(30):
        jobs = bad(*range(waiting))
        decided, kept = plan(
            Survey((session(1, held=held, isolating=isolating),), {"a": 100}, jobs), kept, max_batch=100
        )
        given_out = sum(part.count for part in decided.assignments)
        if decided.isolated:
            assert held == given_out == 0
            story, held, isolating, waiting = story + "I", 1, True, waiting - 1
        elif given_out:
            story, held = story + "n" * given_out, held + given_out
        elif held:
            held, isolating = held - 1, False
    assert story.startswith("InnnnInnnnInnnn")


@given(st.integers(1, 5), st.integers(0, 2**32), st.integers(1, 6))
def test_isolated_jobs_and_the_others_all_end(nodes, seed, bad_jobs):
    """A small cluster that ends random jobs: isolation is real, and neither kind of work starves."""
    rng = random.Random(seed)
    normal, isolated, kept = 40, list(bad(*range(bad_jobs))), Credits()
    held, alone = dict.fromkeys(range(1, nodes + 1), 0), dict.fromkeys(range(1, nodes + 1), False)
    for _ in range(400):
        views = tuple(session(n, held=held[n] + alone[n], isolating=alone[n]) for n in held)
        decided, kept = plan(Survey(views, {"a": normal}, tuple(isolated[:4])), kept, max_batch=rng.randint(1, 20))
        for part in decided.assignments:
            held[part.session] += part.count
            normal -= part.count
        for part in decided.isolated:
            isolated.remove(part.job)
            alone[part.session] = True
        assert all(not (alone[n] and held[n]) for n in held)
        assert sum(alone.values()) <= max(1, nodes // 2)
        for n in held:
            if rng.random() < 0.5:
                held[n], alone[n] = max(0, held[n] - 1), False
        if normal == 0 and not isolated and not any(held.values()) and not any(alone.values()):
            return
    raise AssertionError(f"still waiting: {normal} normal, {len(isolated)} isolated")

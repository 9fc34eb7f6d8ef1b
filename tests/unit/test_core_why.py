"""core/why.py: what a job waits for, in a sentence; each cause is named before those that it hides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callboard.core.errorrecord import encode_error
from callboard.core.records import (
    ErrorRecord,
    FenceView,
    JobRecord,
    JobState,
    NodeInfo,
    PoolReport,
    PoolView,
    ProgressView,
    QueueCounts,
    QueueShare,
    RunRecord,
    SessionId,
    SessionView,
    Token,
)
from callboard.core.why import Surroundings, why

NOW = 1_700_000_000_000
JOB = JobRecord(
    id="j1", name="app.work", queue="q", state=JobState.READY, priority=0, attempts=0, losses=0, max_attempts=None,
    pushed_ms=NOW - 60_000, due_ms=NOW - 60_000, finished_ms=None, token=None, node=None, body=b"", error=None,
)
COUNTS = QueueCounts("q", 0, 1, 0, 0, 0, 0, 0, paused=False)
FENCE = FenceView(3, "boot-n1", "c", "memory", 3)


def session(node="n1", *, queue="q", slots=4, capacity=4, held=0, draining=False, isolating=False):
    pool = PoolView(PoolReport(queue, (QueueShare(queue),), slots, capacity), held)
    return SessionView(SessionId(1), NodeInfo(node, f"boot-{node}"), 1, 5.0, (pool,), draining, isolating)


def around(*sessions, counts=COUNTS, fence=FENCE):
    return Surroundings(NOW, fence, counts, sessions)


READY_CASES = [
    ("paused", JOB, around(session(), counts=COUNTS._replace(paused=True)), "callboard resume q"),
    ("no_node", JOB, around(), "callboard node"),
    ("queue_not_served", JOB, around(session(queue="other")), "served: other"),
    ("no_leader", JOB, around(session(), fence=FenceView(0, "", "", "", 0)), "no node has led"),
    ("no_leader", JOB, around(session("n2")), "the node that led last is gone"),
    ("draining", JOB, around(session(draining=True)), "callboard drain n1 --off"),
    ("no_slots", JOB, around(session(slots=0, capacity=0)), "callboard scale q N"),
    ("isolated", replace(JOB, losses=2), around(session(held=3)), "n1 holds 3"),
    ("next", replace(JOB, losses=2), around(session()), "nothing is in its way"),
    ("node_isolating", JOB, around(session(held=1, isolating=True)), "runs a job that must run alone"),
    ("no_room", JOB, around(session(held=4), counts=COUNTS._replace(ready=9)), "all 4 slots"),
    ("queued", JOB, around(session(), counts=COUNTS._replace(ready=9)), "one of 9 ready jobs"),
    ("next", JOB, around(session()), "within a second"),
]


@pytest.mark.parametrize(("code", "job", "where", "words"), READY_CASES)
def test_a_ready_job_says_what_is_in_its_way(code, job, where, words):
    reason = why(job, where)
    assert reason.code == code
    assert words in reason.sentence


def test_the_first_thing_in_its_way_is_named_first():
    """Paused before no node, no node before no leader, the queue before the leader: mending one shows the next."""
    nobody = FenceView(0, "", "", "", 0)
    assert why(JOB, around(counts=COUNTS._replace(paused=True), fence=nobody)).code == "paused"
    assert why(JOB, around(fence=nobody)).code == "no_node"
    assert why(JOB, around(session(queue="other"), fence=nobody)).code == "queue_not_served"
    assert why(JOB, around(session(draining=True), fence=nobody)).code == "no_leader"


def test_one_node_of_two_is_enough():
    assert why(JOB, around(session(draining=True), session("n2"))).code == "next"
    assert why(JOB, around(session(held=4), session("n2", held=4))).code == "no_room"
    assert why(JOB, around(session(queue="other"), session("n2", held=4))).code == "no_room"


@pytest.mark.parametrize(("changes", "code", "words"), [
    ({"due_ms": NOW + 90_000}, "delayed", "is due in 90 s"),
    ({"due_ms": NOW + 7_200_000, "attempts": 2, "error": encode_error(ErrorRecord("ValueError", "no\nmore"))}, "retry",
     "attempt 2 failed with ValueError: no; the next one is in 2 h"),
    ({"due_ms": NOW + 1_500, "history": (RunRecord(Token(1, 1), "n1", 1, 1, 1, 1, "snooze"),)}, "snoozed", "in 1.5 s"),
    ({"due_ms": NOW - 100}, "due", "just now"),
    ({"due_ms": NOW - 60_000}, "due", "it has been due for 60 s"),
    ({"due_ms": NOW + 5_000, "attempts": 1, "error": b"\xc1"}, "retry", "can't be read"),
])
def test_a_delayed_job_says_until_when_and_why(changes, code, words):
    reason = why(replace(JOB, state=JobState.DELAYED, **changes), around(session()))
    assert (reason.code, words in reason.sentence) == (code, True), reason.sentence


def test_a_job_overdue_without_a_leader_says_so():
    job = replace(JOB, state=JobState.DELAYED, due_ms=NOW - 60_000)
    assert why(job, around(session("n2"))).code == "no_leader"


@pytest.mark.parametrize(("changes", "code", "words"), [
    ({"state": JobState.ASSIGNED, "node": "n1", "assigned_ms": NOW - 200}, "assigned", "given to node n1 0.2 s ago"),
    ({"state": JobState.ASSIGNED, "node": "n9"}, "node_gone", "uncharged"),
    ({"state": JobState.RUNNING, "node": "n1", "taken_ms": NOW}, "taken", "node n1 took it"),
    ({"state": JobState.RUNNING, "node": "n9"}, "node_gone", "node n9 had it"),
    ({"state": JobState.RUNNING, "node": "n1", "started_ms": NOW - 5_000,
      "progress": ProgressView(0.25, "resizing", NOW)}, "running", "for 5.0 s (attempt 1); it says resizing (25%)"),
    ({"state": JobState.COMPLETED, "finished_ms": NOW - 3_000, "attempts": 2}, "completed", "at attempt 2"),
    ({"state": JobState.FAILED, "finished_ms": NOW, "error": encode_error(ErrorRecord("E", "m"))}, "failed",
     "failed retry j1"),
    ({"state": JobState.CANCELLED, "finished_ms": NOW}, "cancelled", "it was cancelled"),
])
def test_a_job_that_does_not_wait_says_what_became_of_it(changes, code, words):
    reason = why(replace(JOB, **changes), around(session()))
    assert (reason.code, words in reason.sentence) == (code, True), reason.sentence


@pytest.mark.parametrize("state", JobState)
def test_every_state_has_an_answer(state):
    assert why(replace(JOB, state=state), around()).sentence

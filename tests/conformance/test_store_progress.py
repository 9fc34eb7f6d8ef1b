"""Progress: what a running job last said."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, held

from callboard.core.records import Held, JobState, OutcomeKind, Progress, ProgressView, SessionId, TakenJob, Token


def say(rig: Rig, session: SessionId, job: TakenJob | Held, fraction: float | None = 0.5, message: str = "") -> None:
    """One report."""
    rig.store.report_progress(session, [Progress(held(job), fraction, message)])


def test_the_newest_is_seen(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    assert rig.record("a").progress is None
    say(rig, session, taken, 0.25, "a quarter")
    first_ms = rig.store.store_now_ms()
    assert rig.record("a").progress == ProgressView(0.25, "a quarter", first_ms)
    rig.clock.advance(1.0)
    say(rig, session, taken, None, "who knows \u00e9\U0001f600'\"")
    assert rig.record("a").progress == ProgressView(None, "who knows \u00e9\U0001f600'\"", first_ms + 1_000)
    say(rig, session, taken, 0.0)
    assert rig.record("a").progress == ProgressView(0.0, "", first_ms + 1_000)


def test_the_last_of_a_batch_counts(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    one, two = map(held, rig.run(session, 2))
    rig.store.report_progress(session, [Progress(one, 0.1), Progress(two, 0.2), Progress(one, 1.0, "done")])
    views = [rig.record(name).progress for name in "ab"]
    assert [(view.fraction, view.message) for view in views if view] == [(1.0, "done"), (0.2, "")]


def test_it_is_seen_in_a_list_too(rig: Rig):
    rig.push("a")
    session = rig.node()
    say(rig, session, rig.run_one(session), 0.75)
    (seen,) = rig.store.jobs(JobState.RUNNING, "q", 10)
    assert seen.progress is not None
    assert seen.progress.fraction == 0.75


def test_nothing_to_say(rig: Rig):
    rig.store.report_progress(rig.node(), [])
    rig.store.report_progress(SessionId(4711), [])


def test_it_is_no_mark_and_changes_nothing_else(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.get_one(session)
    before = rig.store.counts(), rig.store.sessions()
    say(rig, session, taken)
    assert (rig.store.counts(), rig.store.sessions()) == before
    assert rig.record("a").started_ms is None


def check_a_stale_report_is_dropped(rig: Rig) -> None:
    rig.push("a")
    old, new = rig.node("n1"), rig.node("n2")
    first = rig.run_one(old)
    rig.end(old)
    say(rig, old, first)
    assert rig.record("a").progress is None, "it waits"
    second = rig.run_one(new)
    say(rig, new, second, 0.1)
    for wrong in (held(first), held(second)._replace(token=Token(9, second.token.seq)),
                  held(second)._replace(id="b"), held(second)._replace(ref=second.ref + 1_000)):
        say(rig, new, wrong, 0.9)
    say(rig, old, second, 0.9)
    seen = rig.record("a").progress
    assert seen is not None
    assert seen.fraction == 0.1


def test_a_stale_report_is_dropped(rig: Rig):
    check_a_stale_report_is_dropped(rig)


@pytest.mark.parametrize("kind", OutcomeKind)
def test_it_stays_after_the_run_and_a_new_run_begins_without(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    say(rig, session, taken, 0.5, "half")
    rig.succeed(session, taken, kind, error=BOOM)
    say(rig, session, taken, 0.9, "late")
    seen = rig.record("a")
    assert seen.progress is not None
    assert seen.progress.message == "half"
    if seen.state is JobState.READY:
        rig.assign(session)
        assert rig.record("a").progress is None


def test_the_end_of_the_session_leaves_it(rig: Rig):
    rig.push("a")
    session = rig.node()
    say(rig, session, rig.run_one(session), 0.5, "half")
    rig.end(session)
    seen = rig.record("a").progress
    assert seen is not None
    assert seen.message == "half"

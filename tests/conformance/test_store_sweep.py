"""Sweeping: what is over is kept within bounds of number and age; ids for longer."""

from __future__ import annotations

from storekit import BOOM, Rig, ids

from callboard.core.records import JobState, OutcomeKind
from callboard.core.retention import Retention

KEEP = Retention(finished_max=3, finished_age_s=100.0, failed_max=2, failed_age_s=1_000.0, ids_age_s=10_000.0)


def end(rig: Rig, *names: str, kind: OutcomeKind = OutcomeKind.COMPLETED) -> None:
    """Jobs that have ended, one after the other."""
    session = rig.node(capacity=100)
    for name in names:
        rig.push(name)
        rig.succeed(session, rig.run_one(session), kind, error=BOOM)
        rig.clock.advance(0.5)


def kept(rig: Rig, state: JobState = JobState.COMPLETED) -> list[str]:
    """Ids of jobs in this state."""
    return sorted(ids(rig.store.jobs(state, None, 100)))


def sweep(rig: Rig, limit: int = 1_000) -> int:
    """One sweep."""
    return rig.store.sweep(rig.epoch, limit)


def test_the_oldest_go_when_there_are_too_many(rig: Rig):
    small = rig.fresh(retention=KEEP)
    end(small, *"abcde")
    assert sweep(small) == 2
    assert kept(small) == ["c", "d", "e"]
    assert sweep(small) == 0


def test_a_sweep_has_a_limit(rig: Rig):
    small = rig.fresh(retention=KEEP)
    end(small, *"abcdef")
    assert sweep(small, 1) == 1
    assert kept(small) == ["b", "c", "d", "e", "f"]
    assert sweep(small, 5) == 2


def test_completed_and_cancelled_share_a_bound_and_failed_have_their_own(rig: Rig):
    small = rig.fresh(retention=KEEP)
    end(small, "a", "b")
    end(small, "c", "d", kind=OutcomeKind.CANCELLED)
    end(small, "f", "g", "h", kind=OutcomeKind.FAILED)
    assert sweep(small) == 2
    assert (kept(small), kept(small, JobState.CANCELLED)) == (["b"], ["c", "d"])
    assert kept(small, JobState.FAILED) == ["g", "h"]


def test_the_old_go(rig: Rig):
    small = rig.fresh(retention=KEEP)
    end(small, "a")
    end(small, "f", kind=OutcomeKind.FAILED)
    small.clock.advance(50.0)
    end(small, "b")
    assert sweep(small) == 0
    small.clock.advance(60.0)
    assert sweep(small) == 1
    assert (kept(small), kept(small, JobState.FAILED)) == (["b"], ["f"])
    small.clock.advance(1_000.0)
    assert sweep(small) == 2


def test_what_waits_and_runs_is_never_swept(rig: Rig):
    small = rig.fresh(retention=KEEP)
    session = small.node()
    small.push("running", "assigned", "ready")
    small.push("delayed", delay_s=1e6)
    small.run_one(session)
    small.assign(session)
    small.clock.advance(1e5)
    assert sweep(small) == 0
    assert [small.state(one) for one in ("running", "assigned", "ready", "delayed")] == [
        JobState.RUNNING, JobState.ASSIGNED, JobState.READY, JobState.DELAYED]


def test_a_swept_id_is_remembered_and_counted(rig: Rig):
    small = rig.fresh(retention=KEEP)
    end(small, *"abcde")
    sweep(small)
    assert small.store.job("a") is None
    assert small.push("a").new == 0
    assert small.store.job("a") is None
    assert small.counts().completed == 5


def test_an_id_is_forgotten_in_the_end(rig: Rig):
    small = rig.fresh(retention=KEEP)
    end(small, "a")
    small.push("purged")
    small.store.purge("q")
    small.clock.advance(9_000.0)
    sweep(small)
    assert small.push("a", "purged").new == 0
    small.clock.advance(2_000.0)
    sweep(small)
    assert small.push("a", "purged").new == 2


def test_sweeping_takes_a_pruned_job_off_the_failed_list(rig: Rig):
    small = rig.fresh(retention=KEEP)
    end(small, *"abc", kind=OutcomeKind.FAILED)
    sweep(small)
    assert small.counts().failed == 2


def test_sweeping_leaves_what_sessions_hold(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node(capacity=3)
    rig.run(session, 1)
    rig.assign(session, 1)
    before = rig.store.sessions(), rig.store.counts()
    sweep(rig)
    assert (rig.store.sessions(), rig.store.counts()) == before
    assert rig.assign(session, 5).assigned == {session: 1}

"""Time limits: TimeLimitExceeded first, the process's death a grace period later; the others notice nothing."""

from __future__ import annotations

import os

import pytest
from executor_kit import CLOCK, alive, lines, pids, running
from kit import eventually

from callboard.backends.executors.processloop import SOFT_SIGNAL
from callboard.core.runs import EndKind

KINDS = ["process", "thread", "asyncio"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def rig(kind):
    with running(kind, slots=2, kill_grace_s=0.5, replace_grace_s=1.0) as made:
        yield made


def test_a_plain_job_that_overruns_gets_the_limit_raised_in_it(rig, tmp_path):
    path = tmp_path / "seen"
    start_s = CLOCK.boot_s()
    end = rig.run("hangs", path=str(path), how="loops", timeout_s=0.2)
    assert end.kind == EndKind.TIMED_OUT
    assert end.error.kind == "Timeout"
    assert end.error.message == "the job ran longer than its timeout of 0.2 s"
    assert "in hangs" in end.error.traceback
    assert 0.2 <= end.duration_s < 0.7
    assert CLOCK.boot_s() - start_s < 5
    assert lines(path) == ["limit"]
    assert not rig.told.of("child.killed")


def test_an_async_job_that_overruns_is_cancelled(rig, tmp_path):
    path = tmp_path / "seen"
    end = rig.run("hangs_async", path=str(path), how="waits", timeout_s=0.2)
    assert (end.kind, end.error.kind) == (EndKind.TIMED_OUT, "Timeout")
    assert lines(path) == ["CancelledError"]
    assert not rig.told.of("child.killed")


@pytest.mark.parametrize("name", ["hangs", "hangs_async"])
def test_a_job_that_takes_the_hint_and_finishes_has_completed(rig, tmp_path, name):
    end = rig.run(name, path=str(tmp_path / "seen"), how="finishes", timeout_s=0.2)
    assert end.kind == EndKind.COMPLETED


@pytest.mark.parametrize("name", ["hangs", "hangs_async"])
def test_one_that_goes_on_is_killed_after_the_grace(rig, tmp_path, name):
    path = tmp_path / "seen"
    end = rig.run(name, path=str(path), how="stubborn", timeout_s=0.2)
    assert (end.kind, end.error.kind) == (EndKind.TIMED_OUT, "Timeout")
    assert "killed" in end.error.message
    assert end.duration_s >= 0.6
    assert len(lines(path)) == 1  # the limit came once
    killed = rig.told.of("child.killed")
    assert [note.fields["reason"] for note in killed] == ["overrun"]
    assert not alive(killed[0].pid)
    assert rig.run("nothing").kind == EndKind.COMPLETED


def test_a_job_that_blocks_its_thread_in_c_or_its_loop_is_killed_too(rig, tmp_path):
    name, how = ("hangs_async", "blocks") if rig.host.kind == "asyncio" else ("hangs", "sleep")
    end = rig.run(name, path=str(tmp_path / "seen"), how=how, timeout_s=0.2)
    assert end.kind == EndKind.TIMED_OUT
    assert rig.run("nothing").kind == EndKind.COMPLETED


def test_the_others_notice_nothing_of_a_kill(rig, kind, tmp_path):
    go = tmp_path / "go"
    started = tmp_path / "started"
    other = rig.start("gate", path=str(go), started=str(started))
    eventually(lambda: pids(started), 10, "the other runs")
    bad = rig.start("hangs", path=str(tmp_path / "seen"), how="stubborn", timeout_s=0.2)
    if kind == "process":
        assert rig.end(bad).kind == EndKind.TIMED_OUT
        assert other not in rig.told.ends
    else:  # a replacement serves while the other job has its grace
        rig.told.wait(lambda told: len(told.of("child.started")) == 2, "a replacement")
        assert rig.run("nothing").kind == EndKind.COMPLETED
        assert {bad, other}.isdisjoint(rig.told.ends)
    go.touch()
    assert rig.end(other).kind == EndKind.COMPLETED
    assert rig.end(bad).kind == EndKind.TIMED_OUT


@pytest.mark.parametrize("kind", ["thread", "asyncio"])
def test_after_their_grace_the_neighbours_of_an_overrun_are_lost_not_charged(kind, tmp_path):
    with running(kind, slots=3, kill_grace_s=0.2, replace_grace_s=0.5) as rig:
        started = tmp_path / "started"
        others = [rig.start("gate", path=str(tmp_path / "never"), started=str(started)) for _ in range(2)]
        eventually(lambda: len(pids(started)) == 2, 10, "the others run")
        bad = rig.start("hangs", path=str(tmp_path / "seen"), how="stubborn", timeout_s=0.2)
        assert rig.end(bad).kind == EndKind.TIMED_OUT
        assert rig.kinds(others) == [EndKind.NEIGHBOUR_DIED] * 2
        assert rig.told.ends[others[0]].error.kind == "ChildDied"


def test_a_limit_that_comes_late_strikes_no_other_job(rig):
    """Jobs end close to their limits, over and over; whoever had time enough must never be told to stop."""
    tokens = []
    for _ in range(60):
        tokens += rig.submit(rig.job("two_arguments", a=1, timeout_s=0.002), rig.job("nothing", timeout_s=60.0))
    ends = [rig.end(token) for token in tokens]
    assert {end.kind for end in ends[1::2]} == {EndKind.COMPLETED}
    assert {end.kind for end in ends[::2]} <= {EndKind.COMPLETED, EndKind.TIMED_OUT}


def test_a_signal_that_means_no_job_that_runs_now_does_nothing(tmp_path):
    with running("process", slots=1) as rig:
        go, started = tmp_path / "go", tmp_path / "started"
        token = rig.start("gate", path=str(go), started=str(started))
        (child,) = eventually(lambda: pids(started), 10, "it runs")
        for _ in range(20):
            os.kill(child, SOFT_SIGNAL)
        go.touch()
        assert rig.end(token).kind == EndKind.COMPLETED


def test_the_pools_limit_holds_for_jobs_that_name_none_and_can_be_set(rig, tmp_path):
    rig.pool.set_timeout(0.2)
    end = rig.run("hangs", path=str(tmp_path / "seen"), how="loops")
    assert end.error.message == "the job ran longer than its timeout of 0.2 s"


def test_a_short_limit_after_a_long_one_is_kept(rig, tmp_path):
    rig.run("nothing", timeout_s=300.0)
    go = tmp_path / "go"
    go.touch()
    rig.run("gate", path=str(go), timeout_s=300.0)
    start_s = CLOCK.boot_s()
    assert rig.run("hangs", path=str(tmp_path / "seen"), how="loops", timeout_s=1.2).kind == EndKind.TIMED_OUT
    assert CLOCK.boot_s() - start_s < 10


def test_a_retry_after_that_hangs_is_stopped_as_part_of_its_job(rig):
    end = rig.run("Exponential", text="slow", timeout_s=0.2)
    assert end.kind == EndKind.TIMED_OUT


@pytest.mark.parametrize("name", ["hangs", "hangs_async"])
def test_without_grace_a_job_is_killed_at_its_limit(kind, tmp_path, name):
    with running(kind, kill_grace_s=0.0, replace_grace_s=0.1) as rig:
        assert rig.run(name, path=str(tmp_path / "seen"), how="loops", timeout_s=0.2).kind == EndKind.TIMED_OUT
        assert lines(tmp_path / "seen") == []

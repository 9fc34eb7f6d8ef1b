"""Children that grow old or fat, that die at once, that talk rubbish."""

from __future__ import annotations

import pytest
from executor_kit import CLOCK, lines, pids, running
from kit import eventually

from callboard.core.runs import EndKind

KINDS = ["process", "thread", "asyncio"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_a_process_child_is_replaced_after_so_many_jobs_and_never_by_two_at_once(tmp_path):
    path = tmp_path / "ran"
    with running("process", slots=1, recycle_jobs=5) as rig:
        tokens = rig.submit(*(rig.job("alone", path=str(path)) for _ in range(60)))
        assert rig.kinds(tokens) == [EndKind.COMPLETED] * 60
        recycled = rig.told.of("child.recycled")
        assert 5 <= len(recycled) <= 12
        assert all(note.fields["jobs"] >= 5 for note in recycled)
        assert not rig.told.of("child.killed")
        assert not rig.told.of("child.died")
    events = [line.split() for line in lines(path)]
    assert len({pid for _, pid in events}) >= 6
    for (begin, first), (end, second) in zip(events[::2], events[1::2], strict=True):
        assert (begin, end, first) == ("begin", "end", second)  # with one slot nothing ever ran beside another


def test_a_child_that_grew_fat_is_replaced(kind):
    with running(kind, slots=1, recycle_rss_mb=150) as rig:
        for _ in range(3):
            assert rig.run("nothing").kind == EndKind.COMPLETED
        rig.run("grows", mebibytes=200)

        def replaced():
            rig.run("nothing")
            return rig.told.of("child.recycled")

        (note,) = eventually(replaced, 20, "the fat child is replaced")
        assert note.fields["rss_mb"] > 150
        assert rig.run("nothing").kind == EndKind.COMPLETED


def test_children_that_die_at_once_are_made_ever_more_slowly_and_ask_for_no_work(tmp_path):
    app = tmp_path / "app.py"
    app.write_text("import os, callboard\nos.register_at_fork(after_in_child=lambda: os._exit(4))\n"
                   "@callboard.job\ndef nothing(): pass\n")
    with running("process", slots=1, app=(str(app),)) as rig:
        start_s = CLOCK.boot_s()
        rig.told.wait(lambda told: len(told.of("child.died")) >= 5, "five deaths")
        assert CLOCK.boot_s() - start_s > 1.4  # 0.1 + 0.2 + 0.4 + 0.8
        assert rig.pool.capacity() == 0
        assert {note.fields["status"] for note in rig.told.of("child.died")} == {"ended with exit status 4"}
        token = rig.start("nothing")
        rig.pool.stop(CLOCK.boot_s() + 5)
        assert rig.told.ends[token].kind == EndKind.NOT_STARTED


def test_a_child_that_talks_rubbish_is_killed(kind):
    with running(kind, slots=1) as rig:
        assert rig.run("talks_rubbish").kind == EndKind.CHILD_DIED
        (note,) = rig.told.of("child.killed")
        assert note.fields["reason"].startswith("protocol")
        assert rig.run("nothing").kind == EndKind.COMPLETED


def test_whatever_a_job_writes_over_the_shared_memory_every_job_ends_once(kind):
    with running(kind, slots=1) as rig:
        for _ in range(20):
            rig.run("nothing")
        tokens = rig.submit(*(rig.job("nothing") for _ in range(20)), rig.job("vandalises"),
                            *(rig.job("nothing", timeout_s=1.0) for _ in range(20)))
        for token in tokens:
            rig.end(token)
        assert rig.run("nothing").kind == EndKind.COMPLETED


def test_a_flood_from_a_program_slows_nobody_down(kind):
    with running(kind, slots=2) as rig:
        flood = rig.start("floods", seconds=2)
        eventually(rig.pool.running, 10, "it floods")
        start_s = CLOCK.boot_s()
        for _ in range(20):
            assert rig.run("nothing").kind == EndKind.COMPLETED
        assert flood not in rig.told.ends
        assert CLOCK.boot_s() - start_s < 2
        rig.end(flood)
        rig.told.wait(lambda told: told.of("job.output_dropped"), "the lines that were dropped")
        assert len(rig.output()) < 2_000


@pytest.fixture
def without_barrier(kind):
    """A system without membarrier: a child itself has to say of each job that it was not started."""
    with running(kind, slots=1, kill_grace_s=0.5, replace_grace_s=0.5) as rig:
        rig.host._barrier.cross = lambda: False
        for _ in range(20):
            rig.run("usually_fast")
            rig.run("nothing")
        yield rig


def test_without_a_barrier_hold_gets_back_what_waits_once_its_child_says_so(without_barrier, tmp_path):
    rig, go, started = without_barrier, tmp_path / "go", tmp_path / "started"
    tokens = rig.submit(rig.job("usually_fast", path=str(go), started=str(started)),
                        *(rig.job("nothing") for _ in range(20)))
    eventually(lambda: pids(started), 10, "the first runs")
    rig.pool.hold()
    go.touch()
    assert rig.kinds(tokens) == [EndKind.COMPLETED] + [EndKind.NOT_STARTED] * 20


def test_without_a_barrier_a_waiting_job_is_cancelled_and_the_others_run(without_barrier, tmp_path):
    rig, go, started = without_barrier, tmp_path / "go", tmp_path / "started"
    tokens = rig.submit(rig.job("usually_fast", path=str(go), started=str(started)),
                        *(rig.job("nothing") for _ in range(20)))
    eventually(lambda: pids(started), 10, "the first runs")
    rig.pool.cancel(tokens[10])
    go.touch()
    kinds = rig.kinds(tokens)
    assert kinds.pop(10) == EndKind.CANCELLED
    assert kinds == [EndKind.COMPLETED] * 20

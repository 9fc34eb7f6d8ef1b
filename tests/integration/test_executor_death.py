"""Jobs that take their process with them, or leave processes behind."""

from __future__ import annotations

import os
import signal

import pytest
from executor_kit import CLOCK, alive, lines, pids, running
from kit import eventually

from callboard.backends.executors import linux
from callboard.core.runs import EndKind

KINDS = ["process", "thread", "asyncio"]
MIB = 1 << 20


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def rig(kind):
    with running(kind, slots=2, kill_grace_s=0.5, replace_grace_s=0.5, child_memory_max_mb=512) as made:
        yield made


@pytest.mark.parametrize(("name", "arguments", "how"), [
    ("exits_hard", {"status": 5}, "exit status 5"),
    ("exits_hard", {"status": 0}, "exit status 0"),
    ("kills_itself", {}, "SIGKILL"),
    ("kills_itself", {"number": int(signal.SIGSEGV)}, "SIGSEGV"),
    ("kills_itself", {"number": int(signal.SIGTERM)}, "SIGTERM"),
])
def test_a_job_whose_process_dies_under_it_is_charged_and_the_next_one_runs(rig, name, arguments, how):
    end = rig.run(name, **arguments)
    assert (end.kind, end.error.kind) == (EndKind.CHILD_DIED, "ChildDied")
    assert how in end.error.message
    rig.told.wait(lambda told: any(how in note.fields["status"] for note in told.of("child.died")), "the death")
    assert rig.run("nothing").kind == EndKind.COMPLETED


def test_a_child_killed_from_outside_takes_nobody_elses_jobs_along(rig, kind, tmp_path):
    go, started = tmp_path / "go", tmp_path / "started"
    tokens = [rig.start("gate", path=str(go), started=str(started)) for _ in range(2)]
    eventually(lambda: len(pids(started)) == 2, 10, "both run")
    victim = rig.pool.running()[0].child_pid
    os.kill(victim, signal.SIGKILL)
    dead = [token for token in tokens if token in {run.token for run in rig.pool.running() if run.child_pid == victim}]
    if kind == "process":
        rig.told.wait(lambda told: len(told.ends) == 1, "the victim's end")
        go.touch()
        assert sorted(rig.kinds(tokens)) == [EndKind.COMPLETED, EndKind.CHILD_DIED]
    else:
        assert rig.kinds(tokens) == [EndKind.NEIGHBOUR_DIED] * 2
    assert not dead or kind == "process" or len(dead) <= 2


def test_completed_jobs_stay_completed_and_waiting_ones_run_when_their_child_is_killed(rig, tmp_path):
    """Ten fast jobs, one that kills the child, ten more behind it, all in one child: each ends once, as it should."""
    rig.pool.resize(1)
    path = tmp_path / "ran"
    for _ in range(3):
        rig.run("record", path=str(path), text="warm")
        rig.run("usually_fast")
        rig.run("exits_hard", status=1)
    rig.told.wait(lambda told: len(told.of("child.died")) == 3, "the warm-up")
    jobs = [rig.job("record", path=str(path), text=f"a{n}") for n in range(10)]
    jobs.append(rig.job("exits_hard", status=9))
    jobs += [rig.job("record", path=str(path), text=f"b{n}") for n in range(10)]
    kinds = rig.kinds(rig.submit(*jobs))
    assert kinds[10] in (EndKind.CHILD_DIED, EndKind.NEIGHBOUR_DIED)
    ran = [line for line in lines(path) if line != "warm"]
    for job, end in zip(jobs[:10] + jobs[11:], kinds[:10] + kinds[11:], strict=True):
        # with two threads a neighbour may run at the very moment; in a process child none does
        assert end == EndKind.COMPLETED or (end == EndKind.NEIGHBOUR_DIED and rig.host.kind != "process"), job
    assert len(ran) == len(set(ran))  # no completed job ran twice


def test_poison_among_a_thousand_harms_none_of_them(tmp_path):
    path = tmp_path / "ran"
    with running("process", slots=4) as rig:
        jobs = [rig.job("kills_itself") if n % 50 == 7 else rig.job("record", path=str(path), text=str(n))
                for n in range(1_000)]
        kinds = rig.kinds(rig.submit(*jobs))
    for number, kind in enumerate(kinds):
        assert kind == (EndKind.CHILD_DIED if number % 50 == 7 else EndKind.COMPLETED)
    assert sorted(map(int, lines(path))) == [n for n in range(1_000) if n % 50 != 7]


def test_a_lost_job_is_given_an_empty_child_and_nothing_behind_it(rig, tmp_path):
    for _ in range(5):
        rig.run("usually_fast")
    go, started = tmp_path / "go", tmp_path / "started"
    rig.pool.resize(1)
    lost = rig.start("usually_fast", path=str(go), started=str(started), losses=1)
    eventually(lambda: pids(started), 10, "the lost job runs")
    behind = rig.submit(*(rig.job("usually_fast") for _ in range(5)))
    assert [run.token for run in rig.pool.running()] == [lost]
    assert all(link.held == 1 for link in rig.pool.nursery.links if link.held)
    go.touch()
    assert rig.kinds([lost, *behind]) == [EndKind.COMPLETED] * 6


def test_allocation_without_end_is_a_memory_error_of_that_job_alone(rig):
    end = rig.run("hog", timeout_s=30.0)
    assert (end.kind, end.error.kind) == (EndKind.RAISED, "MemoryError")
    assert rig.run("nothing").kind == EndKind.COMPLETED
    assert not rig.told.of("child.died")


def test_the_memory_limit_is_the_options(rig, kind, tmp_path):
    rig.run("memory_limit", path=str(tmp_path / "limit"))
    (limit,) = pids(tmp_path / "limit")
    stacks = limit - 512 * MIB
    assert 0 <= stacks <= 2 * 64 * MIB
    assert kind == "process" or stacks > 0


@pytest.mark.parametrize("how", ["return", "raise", "exit", "print"])
def test_a_process_that_a_job_forks_never_runs_our_loop(rig, tmp_path, how):
    path = tmp_path / "forked"
    token = rig.start("forks", path=str(path), how=how)
    assert rig.end(token).kind == EndKind.COMPLETED
    assert lines(path) == ([] if how in ("raise", "exit") else ["fork"])
    rig.submit(*(rig.job("record", path=str(path), text="after") for _ in range(10)))
    for submitted in rig.submitted:
        rig.end(submitted)
    assert lines(path).count("after") == 10
    if how == "print":  # through the descriptor, as our socket is not the fork's
        rig.told.wait(lambda told: any(note.fields["line"] == "from the fork" for note in told.of("job.output")), "it")


def test_a_job_that_closes_all_descriptors_ends_with_its_child(rig, tmp_path):
    end = rig.run("closes_everything", path=str(tmp_path / "ran"))
    assert end.kind in (EndKind.CHILD_DIED, EndKind.COMPLETED)
    assert lines(tmp_path / "ran") == ["ran"]
    assert rig.run("nothing").kind == EndKind.COMPLETED


@pytest.mark.parametrize("how", ["plain", "group", "session", "daemon", "forked-daemon"])
@pytest.mark.parametrize("end_by", ["overrun", "death", "stop"])
def test_what_a_job_started_dies_with_its_child(kind, tmp_path, how, end_by):
    started, go = tmp_path / "pids", tmp_path / "go"
    with running(kind, slots=2, kill_grace_s=0.0, replace_grace_s=0.0) as rig:
        timeout_s = 1.5 if end_by == "overrun" else 60.0
        token = rig.start("grandchildren", path=str(started), gate_path=str(go), how=how, timeout_s=timeout_s)
        (grandchild,) = eventually(lambda: pids(started), 10, "the grandchild runs")
        assert alive(grandchild)
        if end_by == "death":
            os.kill(rig.pool.running()[0].child_pid, signal.SIGKILL)
        if end_by != "stop":
            assert rig.end(token).kind == {"overrun": EndKind.TIMED_OUT, "death": EndKind.CHILD_DIED}[end_by]
            assert not alive(grandchild)  # before its end is told
    assert not alive(grandchild)
    assert token in rig.told.ends


def test_a_daemon_that_took_off_its_marks_dies_with_the_template_at_the_latest(tmp_path):
    with running("process", slots=1) as rig:
        started, go = tmp_path / "pids", tmp_path / "go"
        token = rig.start("grandchildren", path=str(started), gate_path=str(go), how="bare-daemon")
        (daemon,) = eventually(lambda: pids(started), 10, "the daemon runs")
        go.touch()
        rig.end(token)
        took_s = []
        for _ in range(20):  # each death is looked into; the daemon is nobody's
            start_s = CLOCK.boot_s()
            assert rig.run("exits_hard", status=1).kind == EndKind.CHILD_DIED
            took_s.append(CLOCK.boot_s() - start_s)
        assert alive(daemon)
        assert min(took_s) < linux._ROUNDS_MAX * linux._EXEC_S  # once is waited until it shows whose it is, no more
    assert not alive(daemon)


def test_jobs_that_kill_their_children_one_after_the_other_are_no_fault_of_the_children(kind):
    with running(kind, slots=1) as rig:
        for _ in range(5):  # in each child it is the first, and the last
            assert rig.run("exits_hard", status=1).kind == EndKind.CHILD_DIED
            assert rig.pool.capacity() > 0
        assert rig.pool.nursery._crashes == 0
        assert rig.run("nothing").kind == EndKind.COMPLETED


def test_a_daemon_of_another_job_survives_the_kill_of_a_child(tmp_path):
    with running("process", slots=2, kill_grace_s=0.0) as rig:
        for how in ("daemon", "forked-daemon", "session"):
            started, go = tmp_path / how, tmp_path / f"go-{how}"
            keeper = rig.start("grandchildren", path=str(started), gate_path=str(go), how=how)
            (daemon,) = eventually(lambda started=started: pids(started), 10, "the daemon runs")
            assert rig.run("hangs", path=str(tmp_path / "seen"), how="sleep", timeout_s=0.2).kind == EndKind.TIMED_OUT
            assert alive(daemon)
            go.touch()
            assert rig.end(keeper).kind == EndKind.COMPLETED

"""A pool while it runs: slots, capacity, leases, holding, stopping, abandoning, cancelling."""

from __future__ import annotations

import threading

import pytest
from executor_kit import CLOCK, FAR_S, alive, lines, pids, running
from kit import eventually

from callboard.core.errors import InvalidArgument
from callboard.core.runs import EndKind

KINDS = ["process", "thread", "asyncio"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def rig(kind):
    with running(kind, slots=2, kill_grace_s=0.5, replace_grace_s=0.5) as made:
        yield made


@pytest.fixture
def gates(rig, tmp_path):
    return Gates(rig, tmp_path)


class Gates:
    """Jobs that run until they are let go."""

    def __init__(self, rig, folder):
        self.rig, self.folder, self.count = rig, folder, 0
        self.go = folder / "go"

    def start(self, count, name="gate", **options):
        """That many more jobs, once they run."""
        path = self.folder / f"started-{self.count}"
        tokens = [self.rig.start(name, path=str(self.go), started=str(path), **options) for _ in range(count)]
        eventually(lambda: len(pids(path)) == count, 20, f"{count} jobs run")
        self.count += 1
        return tokens

    def wait(self, count, name="gate"):
        """That many jobs, that have to wait."""
        path = self.folder / f"started-{self.count}"
        self.count += 1
        return path, [self.rig.start(name, path=str(self.go), started=str(path)) for _ in range(count)]


@pytest.mark.parametrize("name", ["gate", "gate_async"])
def test_as_many_jobs_run_side_by_side_as_there_are_slots(rig, gates, name):
    tokens = gates.start(2, name)
    path, more = gates.wait(2, name)
    assert {run.token for run in rig.pool.running()} == set(tokens)
    assert all(run.name == name and run.started_boot_s <= CLOCK.boot_s() for run in rig.pool.running())
    assert pids(path) == []
    gates.go.touch()
    assert rig.kinds(tokens + more) == [EndKind.COMPLETED] * 4
    assert rig.pool.running() == ()


def test_growing_takes_effect_while_jobs_run(rig, gates):
    first = gates.start(2)
    path, more = gates.wait(3)
    rig.pool.resize(5)
    eventually(lambda: len(pids(path)) == 3, 20, "three more run")
    gates.go.touch()
    assert rig.kinds(first + more) == [EndKind.COMPLETED] * 5


def test_shrinking_interrupts_nothing_and_then_fewer_run(rig, gates):
    rig.pool.resize(4)
    running_jobs = gates.start(4)
    rig.pool.resize(1)
    assert len(rig.pool.running()) == 4
    gates.go.touch()
    assert rig.kinds(running_jobs) == [EndKind.COMPLETED] * 4
    gates.go = gates.folder / "go2"
    first = gates.start(1)
    path, second = gates.wait(1)
    assert [run.token for run in rig.pool.running()] == first
    assert pids(path) == []
    gates.go.touch()
    assert rig.kinds(first + second) == [EndKind.COMPLETED] * 2


def test_no_slots_take_nothing_and_some_again_take_what_waited(rig):
    rig.pool.resize(0)
    eventually(lambda: not rig.pool.nursery.links, 20, "no child is left")
    assert rig.pool.capacity() == 0
    token = rig.start("nothing")
    assert rig.pool.running() == ()
    rig.pool.resize(1)
    assert rig.end(token).kind == EndKind.COMPLETED


def test_slots_are_bounded(rig):
    with pytest.raises(InvalidArgument):
        rig.pool.resize(1_001)
    with pytest.raises(InvalidArgument):
        rig.pool.resize(-1)


def test_the_capacity_grows_with_fast_jobs_and_is_the_slots_with_slow_ones(kind, tmp_path):
    with running(kind, slots=2) as rig:
        assert rig.pool.capacity() == 2
        name, most = "nothing_async" if kind == "asyncio" else "nothing", 0
        for _ in range(200):  # on a machine that is busy elsewhere a job that does nothing takes long now and then
            rig.kinds(rig.submit(*(rig.job(name) for _ in range(50))))
            most = max(most, rig.pool.capacity())
            if most > 50:
                break
        assert most > 50
        go, started = tmp_path / "go", tmp_path / "started"
        token = rig.start("gate", path=str(go), started=str(started))
        eventually(lambda: pids(started), 20, "it runs")
        threading.Timer(0.3, go.touch).start()
        rig.end(token)
        eventually(lambda: rig.pool.capacity() == 2, 5, "the average has risen")


def test_thousands_of_jobs_in_one_call_each_end_once(rig):
    tokens = rig.submit(*(rig.job("nothing") for _ in range(3_000)))
    assert rig.kinds(tokens) == [EndKind.COMPLETED] * 3_000


def test_large_bodies_pass_through(rig, tmp_path):
    path = tmp_path / "sizes"
    tokens = rig.submit(*(rig.job("two_arguments", a="x" * 900_000) for _ in range(20)))
    tokens += rig.submit(rig.job("record", path=str(path), text="small"))
    assert rig.kinds(tokens) == [EndKind.COMPLETED] * 21


def test_no_job_waits_in_a_child_behind_one_that_takes_unexpectedly_long(rig, gates):
    """Names that were fast are queued; when one of them is slow the others run elsewhere, at once."""
    for _ in range(5):
        rig.run("usually_fast")
        rig.run("nothing")
    slow = rig.job("usually_fast", path=str(gates.go))
    tokens = rig.submit(slow, *(rig.job("nothing") for _ in range(100)))
    assert rig.kinds(tokens[1:]) == [EndKind.COMPLETED] * 100
    assert tokens[0] not in rig.told.ends
    gates.go.touch()
    assert rig.end(tokens[0]).kind == EndKind.COMPLETED


def test_nothing_starts_once_the_lease_has_passed(rig, tmp_path):
    path = tmp_path / "ran"
    rig.pool.set_lease(CLOCK.boot_s() - 0.001)
    tokens = rig.submit(*(rig.job("record", path=str(path), text="x") for _ in range(20)))
    assert rig.kinds(tokens) == [EndKind.NOT_STARTED] * 20
    assert lines(path) == []
    rig.pool.set_lease(FAR_S)
    assert rig.run("record", path=str(path), text="y").kind == EndKind.COMPLETED


def test_before_the_first_lease_nothing_starts(kind):
    with running(kind, lease_s=0.0) as rig:
        assert rig.run("nothing").kind == EndKind.NOT_STARTED


def test_what_waits_in_children_does_not_start_when_the_lease_passes_meanwhile(rig, tmp_path):
    """A node that is stopped or cut off can't reach its children: they look at the lease before each job."""
    path = tmp_path / "ran"
    for _ in range(30):
        rig.run("record", path=str(path), text="warm")
    rig.pool.set_lease(CLOCK.boot_s() + 0.02)
    tokens = rig.submit(*(rig.job("record", path=str(path), text=str(n)) for n in range(1_000)))
    eventually(lambda: CLOCK.boot_s() > rig.pool.lease_ns / 1e9, 5, "the lease has passed")
    kinds = rig.kinds(tokens)
    ran = [line for line in lines(path) if line != "warm"]
    assert len(ran) == kinds.count(EndKind.COMPLETED) < 1_000
    assert kinds.count(EndKind.NOT_STARTED) == 1_000 - len(ran)


def test_hold_starts_nothing_more_and_returns_what_waits(rig, gates):
    first = gates.start(2)
    path, more = gates.wait(5)
    rig.pool.hold()
    assert rig.kinds(more) == [EndKind.NOT_STARTED] * 5
    assert rig.run("nothing").kind == EndKind.NOT_STARTED
    assert rig.pool.capacity() == 0
    gates.go.touch()
    assert rig.kinds(first) == [EndKind.COMPLETED] * 2
    assert pids(path) == []


def test_hold_takes_back_what_waits_inside_of_children(rig, gates):
    for _ in range(5):
        rig.run("usually_fast")
    blocked = rig.submit(*(rig.job("usually_fast", path=str(gates.go)) for _ in range(2)))
    behind = rig.submit(*(rig.job("usually_fast") for _ in range(50)))
    rig.pool.hold()
    assert sum(link.held for link in rig.pool.nursery.links) <= 2
    assert rig.kinds(behind) == [EndKind.NOT_STARTED] * 50  # while the slots are still taken
    gates.go.touch()
    assert set(rig.kinds(blocked)) <= {EndKind.COMPLETED, EndKind.NOT_STARTED}


def test_stop_waits_for_what_runs(rig, gates):
    tokens = gates.start(2)
    path, more = gates.wait(2)
    threading.Timer(0.3, gates.go.touch).start()
    rig.pool.stop(CLOCK.boot_s() + 20)
    assert [rig.told.ends[token].kind for token in tokens] == [EndKind.COMPLETED] * 2
    assert [rig.told.ends[token].kind for token in more] == [EndKind.NOT_STARTED] * 2
    assert pids(path) == []
    rig.pool.stop(CLOCK.boot_s())
    assert rig.run("nothing").kind == EndKind.NOT_STARTED


@pytest.mark.parametrize("name", ["gate", "gate_async"])
def test_stop_kills_at_its_deadline_and_reports_only_when_all_are_dead(rig, gates, name):
    tokens = gates.start(2, name)
    children = {run.child_pid for run in rig.pool.running()}
    start_s = CLOCK.boot_s()
    rig.pool.stop(start_s + 0.3)
    assert 0.3 <= CLOCK.boot_s() - start_s < 10
    assert [rig.told.ends[token].kind for token in tokens] == [EndKind.INTERRUPTED] * 2
    assert rig.told.ends[tokens[0]].error.kind == "Interrupted"
    assert not any(alive(pid) for pid in children)


def test_a_second_stop_with_an_earlier_deadline_is_obeyed(rig, gates):
    tokens = gates.start(1)
    patient = threading.Thread(target=rig.pool.stop, args=(CLOCK.boot_s() + 600,))
    patient.start()
    rig.pool.stop(CLOCK.boot_s())
    patient.join(20)
    assert not patient.is_alive()
    assert rig.told.ends[tokens[0]].kind == EndKind.INTERRUPTED


def test_abandon_kills_all_tells_of_no_end_and_starts_anew(rig, gates):
    tokens = gates.start(2)
    path, more = gates.wait(3)
    children = {run.child_pid for run in rig.pool.running()}
    assert rig.pool.abandon() == 5
    assert not any(alive(pid) for pid in children)
    assert rig.run("nothing").kind == EndKind.COMPLETED
    gates.go.touch()
    assert pids(path) == []
    assert not set(tokens + more) & set(rig.told.ends)


def test_abandon_and_stop_refuse_to_wait_for_their_own_thread(rig):
    refused = []

    def stop_from_callback(_notes):
        for method in (rig.pool.abandon, lambda: rig.pool.stop(0.0)):
            try:
                method()
            except RuntimeError as error:
                refused.append(str(error))
        done.set()

    done = threading.Event()
    rig.told.on_notes = stop_from_callback
    rig.start("prints", text="x")
    assert done.wait(20)
    assert len(set(refused)) == 2  # however many notes there were


def test_a_waiting_job_is_cancelled_at_once_and_runs_nowhere(rig, gates):
    first = gates.start(2)
    path, (waiting, other) = gates.wait(2)
    rig.pool.cancel(waiting)
    assert rig.end(waiting).kind == EndKind.CANCELLED
    gates.go.touch()
    assert rig.kinds([*first, other]) == [EndKind.COMPLETED] * 3
    assert len(pids(path)) == 1


@pytest.mark.parametrize("name", ["gate", "gate_async"])
def test_a_running_job_is_cancelled_and_its_neighbour_goes_on(rig, gates, name):
    victim, other = gates.start(2, name)
    rig.pool.cancel(victim)
    assert rig.end(victim).kind == EndKind.CANCELLED
    assert other not in rig.told.ends
    gates.go.touch()
    assert rig.end(other).kind == EndKind.COMPLETED


def test_a_job_that_will_not_stop_is_cancelled_by_the_death_of_its_child(rig, tmp_path):
    token = rig.start("hangs", path=str(tmp_path / "seen"), how="sleep")
    eventually(rig.pool.running, 10, "it runs")
    rig.pool.cancel(token)
    assert rig.end(token).kind == EndKind.CANCELLED
    assert rig.run("nothing").kind == EndKind.COMPLETED


def test_cancelling_what_has_ended_or_never_was_does_nothing(rig):
    token = rig.start("nothing")
    rig.end(token)
    rig.pool.cancel(token)
    rig.pool.cancel(token._replace(seq=999_999))
    assert rig.run("nothing").kind == EndKind.COMPLETED


def test_jobs_waiting_in_a_child_behind_a_cancelled_one_run_once(rig, gates, tmp_path):
    path = tmp_path / "ran"
    for _ in range(10):
        rig.run("usually_fast")
        rig.run("record", path=str(path), text="warm")
    blocked = rig.submit(*(rig.job("usually_fast", path=str(gates.go)) for _ in range(2)))
    others = rig.submit(*(rig.job("record", path=str(path), text=str(n)) for n in range(40)))
    rig.pool.cancel(others[20])
    rig.pool.cancel(blocked[0])
    kinds = dict(zip(others, rig.kinds(others), strict=True))
    assert rig.end(blocked[0]).kind in (EndKind.CANCELLED, EndKind.COMPLETED)
    gates.go.touch()
    assert rig.end(blocked[1]).kind in (EndKind.COMPLETED, EndKind.NEIGHBOUR_DIED)
    ran = [line for line in lines(path) if line != "warm"]
    assert len(ran) == len(set(ran)) == sum(kind == EndKind.COMPLETED for kind in kinds.values())
    assert {kind for token, kind in kinds.items() if token != others[20]} <= {EndKind.COMPLETED, EndKind.NEIGHBOUR_DIED}

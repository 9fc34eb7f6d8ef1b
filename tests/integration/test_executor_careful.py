"""A careful job: a slot is kept free for it, it starts when it is admitted, and nothing waits behind it meanwhile."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from executor_kit import lines, pids, running
from kit import eventually

from callboard.backends.executors import pooljobs
from callboard.core.placement import Need
from callboard.core.runs import EndKind


@pytest.fixture(params=["process", "thread", "asyncio"])
def kind(request):
    return request.param


@pytest.fixture
def rig(kind):
    with running(kind, slots=2, kill_grace_s=0.5, replace_grace_s=0.5) as made:
        yield made


def careful(rig, name, *, once=False, **arguments):
    (token,) = rig.submit(rig.job(name, **arguments)._replace(doubts=0 if once else 1, at_most_once=once))
    return token


def poised(rig, *tokens, times=1):
    rig.told.wait(lambda told: all(told.poised.count(token) >= times for token in tokens), f"{tokens} are poised")


def gate(rig, folder, *, how=careful, name="gate"):
    """A job that says when it has started, and waits."""
    token = how(rig, name, path=str(folder / "go"), started=str(folder / "started"))
    return token, folder / "started", folder / "go"


@pytest.mark.parametrize("once", [False, True])
def test_it_starts_when_it_is_admitted_and_not_before_while_the_others_go_on(rig, tmp_path, once):
    token = careful(rig, "who", once=once, path=str(tmp_path / "ran"))
    poised(rig, token)
    assert rig.kinds([rig.start("nothing") for _ in range(50)]) == [EndKind.COMPLETED] * 50
    assert lines(tmp_path / "ran") == []
    assert rig.pool.running() == ()
    rig.pool.admit([token])
    assert rig.end(token).kind is EndKind.COMPLETED
    assert len(lines(tmp_path / "ran")) == 1


def test_several_are_poised_side_by_side_and_the_next_ones_after_them(rig):
    first = [careful(rig, "nothing", once=True), careful(rig, "nothing", once=True)]
    third = careful(rig, "nothing", once=True)
    poised(rig, *first)
    assert third not in rig.told.poised
    rig.pool.admit(first)
    poised(rig, third)
    rig.pool.admit([third])
    assert rig.kinds([*first, third]) == [EndKind.COMPLETED] * 3


def test_doubted_jobs_are_tried_one_by_one(rig):
    first, second = careful(rig, "nothing"), careful(rig, "nothing")
    poised(rig, first)
    assert rig.kinds([rig.start("nothing") for _ in range(5)]) == [EndKind.COMPLETED] * 5
    once = careful(rig, "nothing", once=True)
    assert rig.told.poised == [first], "a job that may kill its node starts alone"
    rig.pool.admit([first])
    assert rig.end(first).kind is EndKind.COMPLETED
    poised(rig, second, once)
    rig.pool.admit([second, once])
    assert rig.kinds([second, once]) == [EndKind.COMPLETED] * 2


def test_a_doubted_job_that_goes_on_holds_up_the_next_one_only_for_a_while(rig, tmp_path):
    token, started, go = gate(rig, tmp_path)
    poised(rig, token)
    rig.pool.admit([token])
    eventually(lambda: pids(started), 20, "it runs")
    second = careful(rig, "nothing")
    poised(rig, second)
    rig.pool.admit([second])
    assert rig.end(second).kind is EndKind.COMPLETED
    go.touch()
    assert rig.end(token).kind is EndKind.COMPLETED


def test_nothing_waits_behind_one_that_runs(rig, tmp_path):
    rig.run("nothing")  # now its name is known to be short, so that many would wait in a child
    token, started, go = gate(rig, tmp_path)
    poised(rig, token)
    rig.pool.admit([token])
    eventually(lambda: pids(started), 20, "it runs")
    others = [rig.start("nothing") for _ in range(100)]
    assert rig.kinds(others) == [EndKind.COMPLETED] * 100
    go.touch()
    assert rig.end(token).kind is EndKind.COMPLETED


def test_it_is_not_poised_behind_another_job(rig, tmp_path):
    check_not_poised_behind_another(rig, tmp_path)


def test_one_that_is_queued_behind_others_is_caught(rig, tmp_path, monkeypatch):
    real = pooljobs.place
    monkeypatch.setattr(pooljobs, "place", lambda line, loads: real([(time_s, Need.ROOM) for time_s, _ in line], loads))
    rig.pool.jobs.expectations.add("gate", 1, 0.0001)  # known to be short: others may wait behind it
    with pytest.raises(AssertionError):
        check_not_poised_behind_another(rig, tmp_path)
    (tmp_path / "go").touch()


def check_not_poised_behind_another(rig, tmp_path):
    seen = threading.Event()
    blockers = [gate(rig, tmp_path, how=lambda rig, *a, **k: rig.start(*a, **k))[0] for _ in range(2)]
    eventually(lambda: len(pids(tmp_path / "started")) == 2, 20, "every slot is busy")
    token = careful(rig, "nothing")
    rig.pool.host.pump.call(seen.set)  # behind what tells of it
    assert seen.wait(10)
    assert token not in rig.told.poised
    (tmp_path / "go").touch()
    assert rig.kinds(blockers) == [EndKind.COMPLETED] * 2
    poised(rig, token)
    rig.pool.admit([token])
    assert rig.end(token).kind is EndKind.COMPLETED


def test_a_refused_one_never_starts_and_its_slot_is_free_again(rig, tmp_path):
    tokens = [careful(rig, "who", once=True, path=str(tmp_path / "ran")) for _ in range(2)]
    poised(rig, *tokens)
    rig.pool.admit([], tokens)
    assert rig.kinds(tokens) == [EndKind.NOT_STARTED] * 2
    rig.pool.admit(tokens)  # too late
    assert rig.kinds([rig.start("nothing") for _ in range(5)]) == [EndKind.COMPLETED] * 5
    assert lines(tmp_path / "ran") == []


def test_one_with_losses_keeps_a_child_for_itself(rig, kind):
    (token,) = rig.submit(rig.job("nothing", losses=1)._replace(doubts=1))
    poised(rig, token)
    others = [rig.start("nothing") for _ in range(4)]
    if kind == "process":
        assert rig.kinds(others) == [EndKind.COMPLETED] * 4
    rig.pool.admit([token])
    assert rig.kinds([token, *others]) == [EndKind.COMPLETED] * 5


def test_it_is_cancelled_while_it_waits_for_its_mark(rig):
    token = careful(rig, "nothing", once=True)
    poised(rig, token)
    rig.pool.cancel(token)
    assert rig.end(token).kind is EndKind.CANCELLED
    rig.pool.admit([token])
    assert rig.run("nothing").kind is EndKind.COMPLETED


def test_a_hold_hands_it_back(rig):
    token = careful(rig, "nothing")
    poised(rig, token)
    rig.pool.hold()
    assert rig.end(token).kind is EndKind.NOT_STARTED


def test_abandoning_drops_it(rig):
    token = careful(rig, "nothing")
    poised(rig, token)
    assert rig.pool.abandon() == 1
    rig.pool.admit([token])
    assert rig.run("nothing").kind is EndKind.COMPLETED
    assert token not in rig.told.ends


def test_it_is_told_of_again_when_its_child_dies(rig, tmp_path):
    other, started, _ = gate(rig, tmp_path, how=lambda rig, *a, **k: rig.start(*a, **k))
    eventually(lambda: pids(started), 20, "the other runs")
    tokens = [careful(rig, "nothing")]
    poised(rig, *tokens)
    for link in list(rig.pool.nursery.links):
        os.kill(link.pid, signal.SIGKILL)
    assert rig.end(other).kind is EndKind.CHILD_DIED
    poised(rig, *tokens, times=2)
    rig.pool.admit(tokens)
    assert rig.kinds(tokens) == [EndKind.COMPLETED]


def test_shrinking_to_nothing_and_growing_again_keeps_it(rig):
    token = careful(rig, "nothing")
    poised(rig, token)
    rig.pool.resize(0)
    eventually(lambda: not rig.pool.nursery.links, 20, "no child is left")
    rig.pool.admit([token])  # nothing is kept for it any more
    rig.pool.resize(1)
    poised(rig, token, times=2)
    rig.pool.admit([token])
    assert rig.end(token).kind is EndKind.COMPLETED

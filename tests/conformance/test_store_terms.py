"""Terms: which leader counts, and that no other one's act changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from storekit import Rig, claim, job

from callboard.core.errors import StaleEpoch, TermRefused
from callboard.core.records import Assignment, Epoch, FenceView, JobState, Plan, ScheduleRow

if TYPE_CHECKING:
    from collections.abc import Callable


def test_no_term_yet(rig: Rig):
    assert rig.store.fence() == FenceView(0, "", "", "", 0)


def test_a_term_raises_the_epoch_and_names_the_owner(rig: Rig):
    first = rig.store.begin_term(claim(5, "boot-1"))
    assert first == Epoch(1, "boot-1")
    second = rig.store.begin_term(claim(9, "boot-2"))
    assert second == Epoch(2, "boot-2")
    assert rig.store.fence() == FenceView(2, "boot-2", "c1", "memory", 9)


def test_the_same_claim_again_is_the_same_term(rig: Rig):
    first = rig.store.begin_term(claim(5))
    assert rig.store.begin_term(claim(5)) == first
    assert rig.store.fence().epoch == 1


def test_the_same_leader_in_a_new_term_has_a_new_epoch(rig: Rig):
    first = rig.store.begin_term(claim(5))
    second = rig.store.begin_term(claim(6))
    assert second.number == first.number + 1
    assert second.owner == first.owner


@pytest.mark.parametrize("late", [
    claim(4, "boot-1"),
    claim(4, "boot-2"),
    claim(5, "boot-2"),
    claim(6, "boot-2", cluster_id="c2"),
    claim(6, "boot-2", backend="etcd"),
    claim(5, "boot-1", cluster_id="c2"),
], ids=["older", "older of another", "same number of another", "another cluster", "another backend", "copied cluster"])
def test_a_claim_is_refused(rig: Rig, late):
    epoch = rig.store.begin_term(claim(5, "boot-1"))
    before = rig.store.fence()
    with pytest.raises(TermRefused):
        rig.store.begin_term(late)
    assert rig.store.fence() == before
    rig.store.survey(epoch, 10)


def test_a_late_copy_of_an_old_claim_is_refused(rig: Rig):
    rig.store.begin_term(claim(5, "boot-1"))
    new = rig.store.begin_term(claim(6, "boot-2"))
    with pytest.raises(TermRefused):
        rig.store.begin_term(claim(5, "boot-1"))
    rig.store.survey(new, 10)


ACTS: dict[str, Callable[[Rig, Epoch], object]] = {
    "survey": lambda rig, epoch: rig.store.survey(epoch, 10),
    "assign": lambda rig, epoch: rig.store.assign(epoch, Plan((Assignment(session_of(rig), "q", "q", 5),))),
    "assign to itself": lambda rig, epoch: rig.store.assign(
        epoch, Plan((Assignment(session_of(rig), "q", "q", 5),)), session_of(rig)),
    "assign nothing": lambda rig, epoch: rig.store.assign(epoch, Plan()),
    "promote_due": lambda rig, epoch: rig.store.promote_due(epoch, 10),
    "end_session": lambda rig, epoch: rig.store.end_session(epoch, session_of(rig), "late"),
    "sweep": lambda rig, epoch: rig.store.sweep(epoch, 10),
    "fire_tick": lambda rig, epoch: rig.store.fire_tick(epoch, "nightly", 1_000, 2_000, [job("tick")]),
}


def session_of(rig: Rig):
    """The one live session."""
    (view,) = rig.store.sessions()
    return view.session


def scene(rig: Rig) -> None:
    """Something for every act to work on: a ready job, one that is due, a session, a schedule."""
    rig.node()
    rig.push("ready")
    rig.push("due", delay_s=1.0)
    rig.clock.advance(2.0)
    rig.store.put_schedule(ScheduleRow("nightly", "0 3 * * *", "UTC", "skip", 60.0, job("template"), 1_000))


def everything(rig: Rig):
    """All that can be read."""
    jobs = [rig.store.jobs(state, None, 100) for state in JobState]
    return rig.store.counts(), rig.store.sessions(), rig.store.schedules(), rig.store.fence(), jobs


def check_stale_epoch_is_refused(rig: Rig, act: str, stale: Epoch) -> None:
    before = everything(rig)
    with pytest.raises(StaleEpoch):
        ACTS[act](rig, stale)
    assert everything(rig) == before


@pytest.mark.parametrize("act", ACTS)
def test_a_deposed_leader_is_refused(rig: Rig, act: str):
    scene(rig)
    check_stale_epoch_is_refused(rig, act, rig.depose())


@pytest.mark.parametrize("act", ACTS)
def test_an_epoch_of_another_owner_is_refused(rig: Rig, act: str):
    scene(rig)
    check_stale_epoch_is_refused(rig, act, Epoch(rig.epoch.number, "boot-x"))


@pytest.mark.parametrize("act", ACTS)
def test_an_epoch_from_the_future_is_refused(rig: Rig, act: str):
    scene(rig)
    check_stale_epoch_is_refused(rig, act, Epoch(rig.epoch.number + 1, rig.epoch.owner))


@pytest.mark.parametrize("act", ACTS)
def test_before_the_first_term_nobody_leads(rig: Rig, act: str):
    scene(rig)
    check_stale_epoch_is_refused(rig, act, Epoch(0, ""))
    check_stale_epoch_is_refused(rig, act, Epoch(1, "boot-1"))


@pytest.mark.parametrize("act", ACTS)
def test_the_leader_is_not_refused(rig: Rig, act: str):
    scene(rig)
    rig.depose()
    ACTS[act](rig, rig.epoch)

"""Where transactions go on side by side: each interleaving that could do harm, step by step and not by luck."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from storekit import WAIT_S, Rig, claim, ids, job
from storeplaces import PLACES, rigs
from test_store_bells import Ear

from callboard.core.errors import StaleEpoch
from callboard.core.records import Assignment, JobState, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from callboard.backends.store.sql import SqlStore

A_MOMENT_S = 0.3
"""Long enough for an act that nothing holds up; who is still under way then, waits."""


@pytest.fixture(params=[name for name in ("postgresql", "mariadb") if name in PLACES])
def side_by_side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A rig on each store whose transactions go on side by side."""
    with ExitStack() as cleanup:
        yield rigs(PLACES[request.param], tmp_path, cleanup)


def sql(store: object) -> SqlStore:
    """The store, which is one on SQL."""
    return cast("SqlStore", store)


@contextmanager
def before_commit(store: object, hook: Callable[[], None]) -> Iterator[None]:
    """The next act of the store calls `hook` when all is done but the commit."""
    tell = sql(store)._tell

    def hooked(connection: Any, rings: set[str]) -> None:
        del sql(store)._tell
        hook()
        tell(connection, rings)

    sql(store)._tell = hooked
    yield


class Act:
    """An act in a thread of its own; its result, or its error."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.result: Any = None

        def run() -> None:
            try:
                self.result = act()
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.result = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def is_done(self, wait_s: float = A_MOMENT_S) -> bool:
        """Whether it has returned."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()


def give(rig: Rig, session: Any, count: int = 1) -> Any:
    """An assignment of the leader's."""
    return rig.store.assign(rig.epoch, Plan((Assignment(session, "q", "q", count),)))


# The fence ------------------------------------------------------------------------------------------------------------


def check_no_term_begins_within_a_leaders_act(rig: Rig) -> None:
    rig.push("a")
    session, other = rig.node(), rig.another()
    began: list[Act] = []
    rig.epoch  # noqa: B018 - the first term begins

    def begin() -> None:
        began.append(Act(lambda: other.begin_term(claim(2, "boot-2"))))
        assert not began[0].is_done(), "the old leader's act is not done, and the new term has begun"

    with before_commit(rig.store, begin):
        assert give(rig, session).assigned == {session: 1}
    assert began[0].is_done(WAIT_S)
    assert began[0].result == (2, "boot-2")
    with pytest.raises(StaleEpoch):
        give(rig, session)


def test_no_term_begins_within_a_leaders_act(side_by_side: Rig):
    check_no_term_begins_within_a_leaders_act(side_by_side)


def check_an_act_that_waited_for_a_new_term_is_refused(rig: Rig) -> None:
    rig.push("a")
    session, other = rig.node(), rig.another()
    rig.epoch  # noqa: B018 - as above
    acts: list[Act] = []

    def late() -> None:
        acts.append(Act(lambda: give(rig, session)))
        assert not acts[0].is_done(), "it acts on an epoch that is about to end"

    with before_commit(other, late):
        other.begin_term(claim(2, "boot-2"))
    assert acts[0].is_done(WAIT_S)
    assert isinstance(acts[0].result, StaleEpoch)
    assert rig.state("a") is JobState.READY


def test_an_act_that_waited_for_a_new_term_is_refused(side_by_side: Rig):
    check_an_act_that_waited_for_a_new_term_is_refused(side_by_side)


# Assigning ------------------------------------------------------------------------------------------------------------


def check_an_assign_passes_by_what_others_change(rig: Rig) -> None:
    rig.push("first", priority=5)
    rig.push("second")
    session, other = rig.node(), rig.another()
    rig.epoch  # noqa: B018 - as above

    def assign() -> None:
        act = Act(lambda: give(rig, session))
        assert act.is_done(2.0), "an operator's act holds it up"
        assert act.result.assigned == {session: 1}

    with before_commit(other, assign):
        other.cancel("first")
    assert ids(rig.take(session)) == ["second"]
    assert rig.state("first") is JobState.CANCELLED


def test_an_assign_passes_by_what_others_change(side_by_side: Rig):
    check_an_assign_passes_by_what_others_change(side_by_side)


def check_two_assigns_do_not_exceed_the_capacity(rig: Rig) -> None:
    session, other = rig.node(capacity=3), rig.another()
    rig.push(*"abcdef")
    plan, epoch = Plan((Assignment(session, "q", "q", 2),)), rig.epoch
    second: list[Act] = []

    def assign() -> None:
        second.append(Act(lambda: other.assign(epoch, plan)))
        second[0].is_done()

    with before_commit(rig.store, assign):
        assert rig.store.assign(epoch, plan).assigned == {session: 2}
    assert second[0].is_done(WAIT_S)
    assert second[0].result.assigned == {session: 1}
    assert rig.counts().assigned == 3


def test_two_assigns_do_not_exceed_the_capacity(side_by_side: Rig):
    check_two_assigns_do_not_exceed_the_capacity(side_by_side)


def check_nothing_is_assigned_to_a_session_that_ends_meanwhile(rig: Rig) -> None:
    rig.push("a")
    session, other = rig.node(), rig.another()
    epoch = rig.epoch
    ended: list[Act] = []

    def end() -> None:
        ended.append(Act(lambda: other.end_session(epoch, session, "x")))
        ended[0].is_done()

    with before_commit(rig.store, end):
        assert give(rig, session).assigned == {session: 1}
    assert ended[0].is_done(WAIT_S)
    assert ended[0].result.handed_back == 1
    assert (rig.state("a"), rig.counts().assigned) == (JobState.READY, 0)


def test_nothing_is_assigned_to_a_session_that_ends_meanwhile(side_by_side: Rig):
    check_nothing_is_assigned_to_a_session_that_ends_meanwhile(side_by_side)


def check_nothing_is_assigned_from_a_queue_that_is_paused_meanwhile(rig: Rig) -> None:
    rig.push("a")
    session, other = rig.node(), rig.another()
    rig.epoch  # noqa: B018 - as above
    paused: list[Act] = []

    def pause() -> None:
        paused.append(Act(lambda: other.set_paused("q", paused=True)))
        paused[0].is_done()

    with before_commit(rig.store, pause):
        assert give(rig, session).assigned == {session: 1}
    assert paused[0].is_done(WAIT_S)
    assert (rig.state("a"), rig.counts().assigned) == (JobState.READY, 0)


def test_nothing_is_assigned_from_a_queue_that_is_paused_meanwhile(side_by_side: Rig):
    check_nothing_is_assigned_from_a_queue_that_is_paused_meanwhile(side_by_side)


# Pushing and bells ----------------------------------------------------------------------------------------------------


def check_a_push_waits_for_the_key_that_another_is_taking(rig: Rig) -> None:
    other = rig.another()
    acts: list[Act] = []

    def push() -> None:
        acts.append(Act(lambda: other.push([job("b", unique="k")])))
        acts[0].is_done()

    with before_commit(rig.store, push):
        assert rig.push("a", unique="k").new == 1
    assert acts[0].is_done(WAIT_S)
    assert (acts[0].result.ids, acts[0].result.new) == (("a",), 0)
    assert rig.counts().ready == 1


def test_a_push_waits_for_the_key_that_another_is_taking(side_by_side: Rig):
    check_a_push_waits_for_the_key_that_another_is_taking(side_by_side)


def heard(rig: Rig, ear: Ear) -> bool:
    """Whether it was rung: a later ring has come."""
    after = Ear(rig.store, "after")
    rig.store.ring("after")
    assert after.hears()
    return ear.heard()


def check_a_leader_that_begins_to_wait_within_a_push_is_rung(rig: Rig) -> None:
    leader, ear, epoch = rig.another(), Ear(rig.store, "leader"), rig.epoch

    def look() -> None:
        assert leader.assign(epoch, Plan()).idle, "it does not see what is not committed"

    rig.node()
    with before_commit(rig.store, look):
        assert rig.push("a").rang is True
    assert heard(rig, ear)


def test_a_leader_that_begins_to_wait_within_a_push_is_rung(side_by_side: Rig):
    check_a_leader_that_begins_to_wait_within_a_push_is_rung(side_by_side)


def check_a_push_within_the_leaders_look_rings_it(rig: Rig) -> None:
    other, session = rig.another(), rig.node()
    rig.push("a")
    rig.run_one(session)  # it found something: it is awake
    ear = Ear(rig.store, "leader")

    def push() -> None:
        assert other.push([job("b")]).rang is False, "it does not wait yet"

    with before_commit(rig.store, push):
        assert rig.store.assign(rig.epoch, Plan()).idle is True
    assert heard(rig, ear)


def test_a_push_within_the_leaders_look_rings_it(side_by_side: Rig):
    check_a_push_within_the_leaders_look_rings_it(side_by_side)

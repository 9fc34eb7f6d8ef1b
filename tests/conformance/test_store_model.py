"""Any sequence of acts leaves a store as it leaves a few dicts; MODEL_PROFILE=50x100: 50 examples of 100 steps."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from storedraws import (
    COUNTS,
    DELAYS,
    GO_ON,
    IDS,
    JOBS,
    KINDS,
    LIMITS,
    LOSE,
    NODES,
    OPERATE,
    RARELY,
    REPLIES,
    RESULTS,
    WORK,
)
from storekit import BOOM, claim, held, info, job, pools
from storemodel import CAPACITY, HELD, QUEUES, WAITING, Model, ModelJob, seen_of
from storeplaces import PLACES, rigs

from callboard.core.errors import Conflict, NotFound, QueueFull, SessionEnded, StaleEpoch, TermRefused
from callboard.core.records import (
    Assignment,
    Epoch,
    Held,
    IsolatedAssignment,
    IsolatedJob,
    JobState,
    Outcome,
    Plan,
    Progress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.records import NewJob, TakenJob

    Draw = Callable[[st.SearchStrategy[Any]], Any]

EXAMPLES, _, STEPS = os.environ.get("MODEL_PROFILE", "").partition("x")
DEFAULTS = {"memory": 60, "sqlite": 15, "postgresql": 5, "mariadb": 5}


class Acts(RuleBasedStateMachine):
    """Acts in any order, by anybody, also late and doubled ones.

    Few rules with many acts each: Hypothesis leaves out rules at random, and a job's way needs most of them.
    """

    place = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = ExitStack()
        folder = Path(self.cleanup.enter_context(TemporaryDirectory()))
        self.rig = rigs(PLACES[self.place], folder, self.cleanup)
        self.store = self.rig.store
        self.model = Model(self.rig.clock)
        self.model.claim = claim(1)
        self.epochs = [self.store.begin_term(claim(1))]
        self.refs: dict[str, int] = {}
        self.sessions: list[int] = []
        self.runs: list[Held] = []
        for node in NODES[:2]:
            self.open_as(node)
        self.push_all([job(f"j{number}", QUEUES[number % 2], has_failed_hook=number < 2) for number in range(6)])
        self.push_all([job("j6", at_most_once=True), job("j7", "r", expires_s=20.0)])

    def teardown(self) -> None:
        self.cleanup.close()

    @rule(act=st.sampled_from(WORK), data=st.data())
    def work(self, act: str, data: st.DataObject) -> None:
        getattr(self, act)(data.draw)

    @rule(act=st.sampled_from(LOSE), data=st.data())
    def lose(self, act: str, data: st.DataObject) -> None:
        getattr(self, act)(data.draw)

    @rule(act=st.sampled_from(GO_ON), data=st.data())
    def go_on(self, act: str, data: st.DataObject) -> None:
        getattr(self, act)(data.draw)

    @rule(act=st.sampled_from(OPERATE), data=st.data())
    def operate(self, act: str, data: st.DataObject) -> None:
        getattr(self, act)(data.draw)

    # Programs and time ------------------------------------------------------------------------------------------------

    def push(self, draw: Draw) -> None:
        batch = draw(st.lists(JOBS, min_size=1, max_size=5, unique_by=lambda one: one.id))
        for _ in range(draw(REPLIES)):
            self.push_all(batch)

    def push_all(self, batch: list[NewJob]) -> None:
        expected = self.model.push(batch)
        if expected is None:
            with pytest.raises(QueueFull):
                self.store.push(batch)
            return
        receipt = self.store.push(batch)
        assert (receipt.ids, receipt.new) == expected

    def time(self, draw: Draw) -> None:
        self.rig.clock.advance(draw(st.sampled_from([0.25, 1.0, 3.0])))

    # The leader -------------------------------------------------------------------------------------------------------

    def begin_term(self, draw: Draw) -> None:
        old = self.model.claim
        step, owner = draw(st.integers(-1, 1)), draw(st.sampled_from(["boot-1", "boot-2"]))
        new = claim(old.number + step, owner)
        if new == old:
            assert self.store.begin_term(new) == self.epochs[-1]
        elif step > 0:
            self.epochs.append(self.store.begin_term(new))
            self.model.claim = new
            assert self.epochs[-1] == Epoch(self.epochs[-2].number + 1, owner)
        else:
            with pytest.raises(TermRefused):
                self.store.begin_term(new)

    def promote(self, draw: Draw) -> None:
        limit, late = draw(st.integers(1, 3)), [one for one in self.model.jobs.values() if self.model.expired(one)]
        done = self.store.promote_due(self.epochs[-1], limit)
        assert self.expire(late) == done.expired == min(limit, len(late))
        assert done.moved == self.model.promote(limit)

    def expire(self, late: list[ModelJob]) -> int:
        """Of jobs that may have expired in the act just now, see which have; how many."""
        gone = [one for one in late if self.rig.state(one.new.id) is JobState.CANCELLED]
        for one in gone:
            assert self.rig.error_kind(one.new.id) == "Expired"
            self.model.expire(one)
        return len(gone)

    def sweep(self, _draw: Draw) -> None:
        self.store.sweep(self.epochs[-1], 100)

    def assign(self, draw: Draw, *, run: bool = False) -> None:
        ready = [one.new.queue for one in self.model.of(JobState.READY) if one.new.queue not in self.model.paused]
        session, queue, count = self.session(draw), draw(st.sampled_from([*ready, *QUEUES])), draw(COUNTS)
        plan = Plan((Assignment(session, queue, queue, count),))
        self.given(plan, session, self.model.choose(session, queue, count), run=run)

    def run(self, draw: Draw) -> None:
        self.assign(draw, run=True)

    def alone(self, draw: Draw) -> None:
        known = [one for one in self.model.jobs.values() if one.new.id in self.refs]
        known.sort(key=lambda one: (-one.losses, one.order))
        if known:
            one, session = draw(st.sampled_from(known[:3])), self.session(draw)
            name = IsolatedJob(self.refs[one.new.id], one.new.id, one.new.queue)
            plan = Plan(isolated=(IsolatedAssignment(session, one.new.queue, name),))
            self.given(plan, session, self.model.choose_alone(session, one), run=draw(st.booleans()))

    def given(self, plan: Plan, session: int, expected: list[ModelJob], *, run: bool) -> None:
        """Carry out a plan that should give exactly these jobs to the session."""
        late = [one for one in self.model.jobs.values() if self.model.expired(one)]
        receipt = self.store.assign(self.epochs[-1], plan, session if run else None)
        self.expire(late)
        assert receipt.assigned == ({session: len(expected)} if expected else {})
        seen = {one.new.id: self.rig.record(one.new.id) for one in expected}
        assert all(one.state in HELD for one in seen.values())
        tokens = {job_id: one.token for job_id, one in seen.items()}
        for one in sorted(expected, key=lambda one: tokens[one.new.id]):
            assert tokens[one.new.id].epoch == self.epochs[-1].number
            self.model.give(one, session, tokens[one.new.id], run=run)
        self.check_taken(receipt.taken, expected if run else [])

    def late_leader(self, draw: Draw) -> None:
        session, queue = self.session(draw), draw(st.sampled_from(QUEUES))
        for epoch in self.epochs[:-1]:
            with pytest.raises(StaleEpoch):
                self.store.assign(epoch, Plan((Assignment(session, queue, queue, 5),)), session)
            with pytest.raises(StaleEpoch):
                self.store.end_session(epoch, session, "late")

    def end(self, draw: Draw) -> None:
        session = self.session(draw)
        own = draw(st.booleans())
        released = self.store.close_session(session) if own else self.store.end_session(self.epochs[-1], session, "x")
        got = released.handed_back, released.lost, released.doubted, set(released.quarantined)
        node = self.model.sessions.get(session)
        assert got == self.model.release(session)
        if node is not None and not draw(RARELY):
            self.open_as(node)

    # Nodes ------------------------------------------------------------------------------------------------------------

    def session(self, draw: Draw) -> int:
        """A session, mostly a live one."""
        return draw(st.sampled_from([*self.model.sessions] * 4 + self.sessions[-2:]))

    def open(self, draw: Draw) -> None:
        self.open_as(draw(st.sampled_from(NODES)))

    def open_as(self, node: str) -> None:
        session = self.store.open_session(info(node), 5.0, pools(*QUEUES, capacity=CAPACITY))
        if node in self.model.sessions.values():
            assert self.model.sessions[session] == node
        else:
            assert session not in self.sessions
            self.model.sessions[session] = node
            self.sessions.append(session)

    def take(self, draw: Draw) -> None:
        session, queues = self.session(draw), draw(st.sampled_from([QUEUES, QUEUES[:1], ()]))
        holds = draw(st.sampled_from([None, 0, 1, 9]))
        mine = [one for one in self.model.held(session) if one.new.queue in queues]
        running = [one for one in mine if one.state is JobState.RUNNING]
        known = None
        if holds is not None:
            known = [Held(self.refs[one.new.id], one.new.id, one.token) for one in running[:holds]]
        if session not in self.model.sessions:
            with pytest.raises(SessionEnded):
                self.store.take(session, queues, known)
            return
        expected = [one for one in mine if one.state is JobState.ASSIGNED]
        self.check_taken(self.store.take(session, queues, known), expected + ([] if holds is None else running[holds:]))
        for one in expected:
            self.model.take(one)

    def check_taken(self, taken: Sequence[TakenJob], expected: list[ModelJob]) -> None:
        """Exactly these jobs were taken, with what a child needs."""
        got = {one.id: (one.token, one.step, one.losses, one.attempt, one.queue, one.doubts, one.at_most_once)
               for one in taken}
        assert len(got) == len(taken)
        assert got == {one.new.id: (one.token, one.step, one.losses, one.attempts + (one.step == 0), one.new.queue,
                                    one.doubts, one.new.at_most_once) for one in expected}
        self.refs |= {one.id: one.ref for one in taken}
        self.runs += map(held, taken)

    def run_of(self, draw: Draw) -> Held:
        """A run, mostly one that goes on."""
        running = [run for run in self.runs[::-1] if (one := self.model.jobs.get(run.id)) is not None
                   and one.state is JobState.RUNNING and one.token == run.token]
        return draw(st.sampled_from(running * 3 + self.runs[::-1]))

    def of_session(self, draw: Draw, run: Held) -> int:
        """The run's session, or another."""
        one = self.model.jobs.get(run.id)
        mine = [] if one is None or one.session is None else [one.session] * 5
        return draw(st.sampled_from([*mine, *self.sessions[-2:]]))

    def mark(self, draw: Draw) -> None:
        if self.runs:
            runs = [self.run_of(draw) for _ in range(draw(st.integers(1, 3)))]
            session = self.of_session(draw, runs[0])
            for _ in range(draw(REPLIES)):
                assert list(self.store.mark_started(session, runs)) == self.model.mark(session, runs)

    def progress(self, draw: Draw) -> None:
        if self.runs:
            run, text = self.run_of(draw), draw(st.sampled_from(["", "half", "all"]))
            session = self.of_session(draw, run)
            self.store.report_progress(session, [Progress(run, 0.5, text)])
            one = self.model.runs(session, run)
            if one is not None:
                one.progress = text

    def finish(self, draw: Draw) -> None:
        if self.runs:
            outcomes = [Outcome(self.run_of(draw), draw(KINDS), draw(DELAYS), BOOM, draw(RESULTS))
                        for _ in range(draw(st.integers(1, 3)))]
            for _ in range(draw(REPLIES)):
                self.finish_all(self.session(draw), outcomes)

    def finish_all(self, session: int, outcomes: list[Outcome]) -> None:
        """Send a batch of outcomes."""
        receipt = self.store.finish(session, outcomes)
        told = [(outcome.held, self.model.finish(outcome)) for outcome in outcomes]
        either = [run for run, what in told if what == "either"]
        stale = [run for run, what in told if what == "stale" and run not in either]
        assert [run for run in receipt.stale if run not in either] == stale
        assert receipt.applied == len(outcomes) - len(receipt.stale)
        assert receipt.quarantined == tuple(run.id for run, what in told if what == "quarantined")

    def beat(self, draw: Draw) -> None:
        session = self.session(draw)
        if session not in self.model.sessions:
            with pytest.raises(SessionEnded):
                self.store.beat(session, pools(*QUEUES, capacity=CAPACITY))
            return
        reply = self.store.beat(session, pools(*QUEUES, capacity=CAPACITY))
        mine = self.model.held(session)
        assert set(reply.cancels) == {(one.new.id, one.token) for one in mine if one.cancel_asked}
        assert reply.waiting == sum(one.state is JobState.ASSIGNED for one in mine)
        assert reply.draining == (self.model.sessions[session] in self.model.draining)

    # Operators --------------------------------------------------------------------------------------------------------

    def cancel(self, draw: Draw) -> None:
        job_id = draw(st.sampled_from([*self.model.jobs, "j60"]) | IDS)
        one = self.model.jobs.get(job_id)
        if one is None:
            with pytest.raises(NotFound):
                self.store.cancel(job_id)
        else:
            assert self.store.cancel(job_id) is self.model.cancel(one)

    def purge(self, draw: Draw) -> None:
        queue = draw(st.sampled_from(QUEUES))
        assert self.store.purge(queue) == self.model.forget(self.model.of(*WAITING, queue=queue))

    def pause(self, draw: Draw) -> None:
        queue, paused = draw(st.sampled_from(QUEUES)), draw(RARELY)
        self.store.set_paused(queue, paused=paused)
        (self.model.paused.add if paused else self.model.paused.discard)(queue)
        for one in self.model.of(JobState.ASSIGNED, queue=queue) if paused else ():
            one.leave(JobState.READY)

    def limit(self, draw: Draw) -> None:
        queue, limits = draw(st.sampled_from(QUEUES)), draw(LIMITS)
        self.store.set_limits(queue, limits)
        self.model.limits[queue] = limits

    def drain(self, draw: Draw) -> None:
        node, draining = draw(st.sampled_from(NODES)), draw(RARELY)
        self.store.set_draining(node, draining=draining)
        (self.model.draining.add if draining else self.model.draining.discard)(node)

    def retry_failed(self, draw: Draw) -> None:
        run = draw(st.none() | st.sampled_from(self.runs)) if self.runs else None
        failed = [one.new.id for one in self.model.of(JobState.FAILED)]
        job_id = run.id if run else draw(st.sampled_from(failed) if failed else IDS)
        token = run.token if run else None
        one = self.model.jobs.get(job_id)
        if one is None or one.state is not JobState.FAILED:
            error = NotFound
        elif (token is not None and token != one.token) or not self.model.may_retry(one):
            error = Conflict
        else:
            self.store.retry_failed(job_id, token)
            self.model.retry(one)
            return
        with pytest.raises(error):
            self.store.retry_failed(job_id, token)

    def forget(self, draw: Draw) -> None:
        names, queue = draw(st.none() | st.lists(IDS, max_size=3)), draw(st.none() | st.sampled_from(QUEUES))
        failed = [one for one in self.model.of(JobState.FAILED, queue=queue) if names is None or one.new.id in names]
        assert self.store.forget_failed(names, queue) == self.model.forget(failed)

    # Always -----------------------------------------------------------------------------------------------------------

    @invariant()
    def jobs_are_as_in_the_model(self) -> None:
        for state in JobState:
            jobs = {one.id: seen_of(one) for one in self.store.jobs(state, None, 1_000)}
            expected = sorted(self.model.of(state), key=lambda one: -one.order)
            assert list(jobs) == [one.new.id for one in expected], f"{state!r}, newest first"
            for one in expected:
                assert jobs[one.new.id] == one.seen(self.model.now_ms), one.new.id

    @invariant()
    def numbers_are_as_in_the_model(self) -> None:
        assert self.store.counts(QUEUES) == tuple(map(self.model.counts, QUEUES))
        survey = self.store.survey(self.epochs[-1], 2)
        ready = {queue: [one for one in self.model.of(JobState.READY, queue=queue) if queue not in self.model.paused]
                 for queue in QUEUES}
        assert survey.ready == {queue: min(2, beside) for queue, jobs in ready.items()
                                if (beside := sum(one.losses < 2 for one in jobs))}
        assert {one.id for one in survey.isolated} == {
            one.new.id for jobs in ready.values() for one in jobs if one.losses >= 2}

    @invariant()
    def sessions_are_as_in_the_model(self) -> None:
        views = {view.session: view for view in self.store.sessions()}
        assert {session: view.info.node for session, view in views.items()} == self.model.sessions
        for session, view in views.items():
            mine = self.model.held(session)
            assert view.held == len(mine) <= CAPACITY * len(QUEUES)
            assert view.isolating == any(one.losses >= 2 for one in mine)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", PLACES)
def test_any_sequence_of_acts_is_as_in_the_model(place: str):
    machine = type(f"ActsOn{place}", (Acts,), {"place": place})
    run_state_machine_as_test(machine, settings=settings(
        max_examples=int(EXAMPLES or DEFAULTS.get(place, 8)), stateful_step_count=int(STEPS or 60),
        deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]))

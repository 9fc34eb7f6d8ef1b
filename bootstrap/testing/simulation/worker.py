"""A node's Worker and children, at the level of what they ask of the store; verdicts by core/verdict.py."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from callboard.core.errors import QueueError
from callboard.core.records import Backoff, ErrorRecord, FinishReceipt, Held, Outcome, PoolReport, QueueShare
from callboard.core.runs import EndKind, RunEnd
from callboard.core.verdict import QueueDefaults, outcome_of

from .world import Call, Signal, Sleep, Wait

if TYPE_CHECKING:
    from callboard.core.records import SessionId, TakenJob, Token

    from .node import Node
    from .world import Activity

QUEUES = (QueueShare("a", 2), QueueShare("b", 1))
NAMES = tuple(share.queue for share in QUEUES)
SLOTS = 2
CAPACITY = 5
MARK_AFTER_S = 0.005
"""A run that takes longer is marked as begun."""
DEFAULTS = QueueDefaults(max_attempts=3, timeout_s=10.0, backoff=Backoff(0.2, factor=2.0, jitter=0.5))


class Worker:
    """One pool. Children run on while the node's own process is paused: they obey the lease alone."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.world = node.world
        self.held: dict[Token, TakenJob] = {}
        self.healed: set[Token] = set()
        self.backlog: deque[TakenJob] = deque()
        self.running: dict[Token, TakenJob] = {}
        self.ends: list[RunEnd] = []
        self.outbox: list[Outcome] = []
        self.sending: list[Outcome] = []
        self.requests: deque[str] = deque()
        self.begun: dict[Token, TakenJob] = {}  # to be marked
        self.cautious: deque[TakenJob] = deque()  # to be marked before they start
        self.given = 0  # of those: marked, and on their way to a child
        self.wake = Signal()
        self.stopping = False

    @property
    def reports(self) -> tuple[PoolReport, ...]:
        return (PoolReport("a", QUEUES, SLOTS, 0 if self.stopping else CAPACITY),)

    # The lane: one call at a time, in order

    def ask(self, request: str) -> None:
        if request not in self.requests:
            self.requests.append(request)
            self.wake.ring()

    def lane(self) -> Activity:
        while True:
            while self.requests:
                request = self.requests.popleft()
                session = self.node.session
                if session is None:
                    continue
                if request == "finish":
                    yield from self._mark(session)
                    yield from self._finish(session)
                elif request == "mark":
                    yield from self._mark(session)
                elif request == "mark first":
                    yield from self._mark_first(session)
                else:
                    yield from self._take(session, healing=request == "heal")
            yield Wait(self.wake, 60.0)

    def _take(self, session: SessionId, *, healing: bool) -> Activity:
        store = self.node.store
        holding = [Held(job.ref, job.id, token) for token, job in self.held.items()] if healing else None
        try:
            jobs = yield Call(self.node.store_server, "take", lambda: store.take(session, NAMES, holding), session)
        except QueueError:
            return
        if session != self.node.session:
            return
        if healing:
            jobs = [job for job in jobs if job.token not in self.held]
            # For the whole session: the leader's reply for these may still be under way after the next healing (seed
            # 2127 found a finished job started again where each healing forgot the one before).
            self.healed.update(job.token for job in jobs)
            if jobs:
                self.world.tell(self.node.name, "heals", [job.id for job in jobs])
            self.accept(jobs, healed=True)
        else:
            self.accept(jobs)

    def _finish(self, session: SessionId) -> Activity:
        store = self.node.store
        if not self.sending:
            self.sending, self.outbox = self.outbox, []
        batch = tuple(self.sending)
        if not batch:
            return
        try:
            receipt: FinishReceipt = yield Call(
                self.node.store_server, "finish", lambda: store.finish(session, batch), batch
            )
        except QueueError:
            self.world.timer(self.node.main, 0.3, lambda: self.ask("finish"))
            return
        if session != self.node.session:
            return
        self.sending = []
        for outcome in batch:
            self.held.pop(outcome.held.token, None)
        if receipt.stale:
            self.world.tell(self.node.name, "stale", [held.id for held in receipt.stale])
        if self.outbox:
            self.ask("finish")
        self.node.bell.ring()

    def _mark(self, session: SessionId) -> Activity:
        """Tell the store which runs have begun and go on."""
        store = self.node.store
        begun = {token: job for token, job in self.begun.items() if token in self.running}
        self.begun.clear()
        batch = tuple(Held(job.ref, job.id, token) for token, job in begun.items())
        if not batch:
            return
        try:
            yield Call(self.node.store_server, "mark_started", lambda: store.mark_started(session, batch),
                       (session, batch))
        except QueueError:
            if session == self.node.session:
                self.begun.update(begun)
                self.world.timer(self.node.main, 0.3, lambda: self.ask("mark"))

    def _mark_first(self, session: SessionId) -> Activity:
        """Let a careful job start if the store has its mark."""
        if not self.cautious or len(self.running) + self.given >= SLOTS:
            return
        store, job = self.node.store, self.cautious[0]
        held = Held(job.ref, job.id, job.token)
        try:
            refused = yield Call(self.node.store_server, "mark_started",
                                 lambda: store.mark_started(session, [held]), (session, (held,)))
        except QueueError:
            self.world.timer(self.node.main, 0.3, lambda: self.ask("mark first"))
            return
        if session != self.node.session or not self.cautious or self.cautious[0] is not job:
            return
        self.cautious.popleft()
        if refused:
            self.world.tell(self.node.name, "may not begin", job.id)
            self.held.pop(job.token, None)
        else:
            self.given += 1
            self.node.children.do(lambda: self._start_given(job))
        self.ask("mark first")

    # Jobs

    def accept(self, jobs: list[TakenJob] | tuple[TakenJob, ...], *, healed: bool = False) -> None:
        """Jobs that the store says are this node's to run."""
        fresh = [job for job in jobs if job.token not in self.held and (healed or job.token not in self.healed)]
        self.held.update((job.token, job) for job in fresh)
        if self.stopping:
            self.ends += [RunEnd(job.token, EndKind.NOT_STARTED) for job in fresh]
            self.collect()
        else:
            self.backlog.extend(job for job in fresh if not job.careful)
            self.cautious.extend(job for job in fresh if job.careful)
            self.ask("mark first")
            self.node.children.do(self.pump)

    def pump(self) -> None:
        """In the children: start what fits, while the lease lasts; a careful job that waits has a slot kept for it."""
        while self.backlog and len(self.running) + self.given + bool(self.cautious) < SLOTS:
            self._start(self.backlog.popleft())
        if self.cautious:
            self.world.timer(self.node.main, 0.0, lambda: self.ask("mark first"))

    def _start_given(self, job: TakenJob) -> None:
        """In the children: a careful job whose mark the store has."""
        if job.token in self.held:
            self.given -= 1
            self._start(job)

    def _start(self, job: TakenJob) -> None:
        if self.node.may_start() and not self.stopping:
            self.running[job.token] = job
            self.node.checks.started(self.node.name, job)
            self.world.spawn(self.node.children, self._run(job))
            if not job.careful:
                self.world.timer(self.node.main, MARK_AFTER_S, lambda: self._begun(job))
        else:
            self.world.tell(self.node.name, "may not start", job.id)
            self._end(RunEnd(job.token, EndKind.NOT_STARTED))

    def _begun(self, job: TakenJob) -> None:
        if job.token in self.running:
            self.begun[job.token] = job
            self.ask("mark")

    def _run(self, job: TakenJob) -> Activity:
        rng = self.world.random
        short = (0.0, 0.0, 0.3) if job.name == "poison" else (0.005, 0.05, 0.3, 1.0)
        yield Sleep(rng.uniform(1.0, 12.0) if job.name == "long" else rng.choice(short))
        if self.running.get(job.token) is not job:
            return  # it was killed
        if job.name == "poison":
            self.node.crash(f"{job.id} killed it")
            return
        del self.running[job.token]
        end = self._how_it_ended(job)
        self.node.checks.ended(self.node.name, job, end.kind)
        self._end(end)
        self.pump()

    def _how_it_ended(self, job: TakenJob) -> RunEnd:
        rng, token = self.world.random, job.token
        error = ErrorRecord("ValueError", "planned")
        if job.name == "bad":
            return RunEnd(token, EndKind.RAISED, error, permanent=True)
        if job.name == "dies":
            return RunEnd(token, EndKind.CHILD_DIED)
        if job.name in {"flaky", "once"} and rng.random() < 0.5:
            return rng.choice((
                RunEnd(token, EndKind.RAISED, error),
                RunEnd(token, EndKind.RAISED, error, retry_after_s=0.1),
                RunEnd(token, EndKind.RAISED, error, snooze_s=0.1),
                RunEnd(token, EndKind.TIMED_OUT),
                RunEnd(token, EndKind.NEIGHBOUR_DIED),
            ))
        return RunEnd(token, EndKind.COMPLETED)

    def _end(self, end: RunEnd) -> None:
        self.ends.append(end)
        self.world.timer(self.node.main, 0.0, self.collect)

    def collect(self) -> None:
        """Make outcomes of ends, and have them sent."""
        ends, self.ends = self.ends, []
        for end in ends:
            job = self.held.get(end.token)
            if job is not None:
                held = Held(job.ref, job.id, job.token)
                self.outbox.append(outcome_of(end, held, job, DEFAULTS, self.world.random.random()))
        if self.outbox:
            self.ask("finish")

    def cancel(self, token: Token) -> None:
        """Stop one job: while it waits, or by the death of its child."""
        for waiting in (self.backlog, self.cautious):
            found = next((job for job in waiting if job.token == token), None)
            if found is not None:
                waiting.remove(found)
                break
        else:
            if self.running.pop(token, None) is None:
                return
        self._end(RunEnd(token, EndKind.CANCELLED))
        self.node.children.do(self.pump)

    def abandon(self) -> None:
        """The session is over: the children die now, and what they held is others'."""
        self.backlog.clear()
        self.running.clear()
        self.ends.clear()
        self.held.clear()
        self.healed.clear()
        self.outbox.clear()
        self.sending.clear()
        self.requests.clear()
        self.begun.clear()
        self.cautious.clear()
        self.given = 0

    def hold(self) -> None:
        """Start nothing more; what waits goes back."""
        self.stopping = True
        self.ends += [RunEnd(job.token, EndKind.NOT_STARTED) for job in (*self.backlog, *self.cautious)]
        self.backlog.clear()
        self.cautious.clear()
        self.collect()

    def interrupt(self) -> None:
        """The deadline of a graceful stop: what still runs is killed."""
        self.ends += [RunEnd(token, EndKind.INTERRUPTED) for token in self.running]
        self.running.clear()
        self.collect()

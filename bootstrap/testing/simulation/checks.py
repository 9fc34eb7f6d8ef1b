"""What must hold after every act of the store, whoever did it: the rows before and after, compared with the rules.

This is written from the promises, not from the store's code; it looks into the memory store's rows.
"""

# pyright: reportPrivateUsage=false
# Its checks look into the rows of the memory store.
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.election import margin_s
from callboard.core.errors import QueueError
from callboard.core.records import Epoch, JobState, OutcomeKind, SessionId, Step, TakenJob, Token
from callboard.core.runs import EndKind

if TYPE_CHECKING:
    from callboard.backends.store.memory import MemoryStore
    from callboard.core.records import Term

    from .lease import Lease
    from .world import Call, World

SESSION_TTL_S = 3.0
LEASE_TTL_S = 3.0
S = JobState
TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})
HELD = frozenset({S.ASSIGNED, S.RUNNING})
CHARGES_ATTEMPT = frozenset({OutcomeKind.COMPLETED, OutcomeKind.RETRY, OutcomeKind.FAILED})
FENCED = frozenset({"begin_term", "promote", "survey", "assign", "end_session", "fire_tick"})


class Violation(AssertionError):
    """A promise was broken."""


class Seen(NamedTuple):
    """A row as it was."""

    state: JobState
    token: Token | None
    session: SessionId | None
    attempts: int
    losses: int
    step: Step
    doubts: int
    started: bool
    once: bool

    @property
    def careful(self) -> bool:
        return self.doubts > 0 or self.once


class Checks:
    """Watches one store."""

    def __init__(self, world: World, store: MemoryStore) -> None:
        self.world, self.store = world, store
        self.rows: dict[str, Seen] = {}
        self.owners: dict[int, str] = {}
        self.newest = Token(0, 0)
        self.issued: set[Token] = set()
        self.starts: dict[Token, str] = {}
        self.runs: Counter[str] = Counter()
        self.handles: Counter[str] = Counter()  # the same since an operator's last retry
        self.beats: dict[SessionId, float] = {}
        self.over: set[SessionId] = set()
        self.completed: set[Token] = set()
        self.acknowledged: set[str] = set()

    def fail(self, what: str) -> None:
        self.world.tell("CHECK", "VIOLATION", what)
        raise Violation(what)

    def need(self, holds: object, what: str) -> None:
        if not holds:
            self.fail(what)

    # What is seen of nodes

    def leads(self, node: str, term: Term, lease: Lease) -> None:
        """A node is about to act as leader."""
        self.need(lease.keeps(term), f"{node} acts in term {term.number}, which the lease has ended")

    def trusts(self, node: str, term: Term, until_s: float, lease: Lease) -> None:
        """A node will act as leader until then (world's time), whatever it hears or does not hear meanwhile."""
        held = lease.ends_at if lease.in_force() == term else self.world.now
        self.need(term.number in lease.excused or until_s <= max(held, self.world.now),
                  f"{node} trusts term {term.number} until {until_s:.3f}, but the lease ends at {held:.3f}")

    def may_start_until(self, node: str, session: SessionId, until_s: float) -> None:
        """A node's children may start jobs until then (world's time)."""
        latest = self.beats[session] + SESSION_TTL_S - margin_s(SESSION_TTL_S)
        self.need(until_s <= latest + 1e-6, f"{node} may start jobs until {until_s:.3f}, but it last beat so that "
                                            f"{latest:.3f} is the latest")

    def started(self, node: str, job: TakenJob) -> None:
        """A child starts a job."""
        self.world.tell(node, "runs", f"{job.id} {job.name} {tuple(job.token)} attempt {job.attempt}")
        row = self.rows.get(job.id)
        self.need(job.token not in self.starts, f"{job.id}: the token {job.token} starts twice")
        self.need(
            row is not None and row.state is S.RUNNING and row.token == job.token,
            f"{node} starts {job.id} with {job.token}, but the store has {row}",
        )
        marked = row is not None and row.started
        self.need(marked or not job.careful, f"{node} starts {job.id} before the store has its mark")
        self.starts[job.token] = job.id
        self.runs[job.id] += 1
        self.handles[job.id] += 1
        most = {"once": 1, "poison": 4}.get(job.name)  # of poison: one is in doubt, three are losses
        self.need(most is None or self.handles[job.id] <= most, f"{job.id} starts {self.handles[job.id]} times")

    def ended(self, node: str, job: TakenJob, kind: EndKind) -> None:
        """A child ended a job."""
        self.world.tell(node, "ended", f"{job.id} {kind.name}")
        if kind is EndKind.COMPLETED:
            self.completed.add(job.token)

    # What is seen of the store

    def execute(self, caller: str, call: Call) -> Any:
        """Let the act happen, and compare."""
        if call.server.name != "store":
            return call.act()
        try:
            result = call.act()
        except QueueError:
            self._compare(f"refused {call.name}", None)
            raise
        self.after(caller, call.name, call.about, result)
        return result

    def after(self, caller: str, name: str, about: Any, result: Any = None) -> None:
        """An act was accepted."""
        if name in FENCED:
            self._fenced(caller, name, about, result)
            about = about[1]
        if name in {"beat", "open_session"}:
            self.beats[about or result] = self.world.now
        if name == "end_session":
            self._ended(about[1])
        elif name == "close_session":
            self.over.add(about)
        changed = self._compare(name, about)
        if changed or name in {"begin_term", "end_session", "open_session", "close_session"}:
            self.world.tell(caller, name, "; ".join(changed) or result)
            self._held()
        if name == "assign":
            self._capacities()

    def _fenced(self, caller: str, name: str, about: Any, result: Any) -> None:
        boot_id, detail = about
        fence = self.store.fence()
        epoch = result if name == "begin_term" else detail[0] if name == "end_session" else detail
        if not isinstance(epoch, Epoch):
            raise TypeError(f"{name} tells no epoch: {epoch!r}")
        self.need(epoch == (fence.epoch, fence.owner), f"{name} accepted at {epoch}, fence {fence}")
        self.need(epoch.owner == boot_id, f"{caller} acts at {epoch}, which is another's")
        self.need(self.owners.setdefault(epoch.number, boot_id) == boot_id, f"two owners of epoch {epoch.number}")
        self.need(epoch.number == max(self.owners), f"epoch {epoch.number} accepted after {max(self.owners)}")

    def _ended(self, session: SessionId) -> None:
        """The leader asked for a session's end; where it has ended, its children may have started nothing any more."""
        if session in self.store._table.sessions or session in self.over:
            return
        self.over.add(session)
        until_s = self.beats[session] + SESSION_TTL_S - margin_s(SESSION_TTL_S)
        self.need(self.world.now >= until_s, f"session {session} is ended, but may start jobs until {until_s:.3f}")

    def _compare(self, name: str, about: Any) -> list[str]:
        changed: list[str] = []
        rows, rule, newest = self.rows, RULES.get(name), self.newest
        table = self.store._table.rows
        for row in table.values():
            state = (row.state, row.token, row.session, row.attempts, row.losses, row.step, row.doubts,
                     row.started_ms is not None, row.job.at_most_once)
            old = rows.get(row.job.id)
            if state != old:
                new, job_id = Seen(*state), row.job.id
                changed.append(f"{job_id} {old.state.name if old else '-'}>{new.state.name}")
                legal = rule is not None and rule(self, old, new, about, newest, job_id)
                self.need(legal, f"{name}: {job_id} went from {old} to {new}")
                self.need(new.doubts <= 1, f"{job_id} is in doubt twice")
                rows[job_id] = new
        if len(table) != len(rows):
            self.fail(f"{name} lost {rows.keys() - {row.job.id for row in table.values()}}")
        return changed

    def _held(self) -> None:
        table = self.store._table
        by_session = Counter(row.session for row in self.rows.values() if row.state in HELD)
        self.need(set(by_session) <= set(table.sessions), f"rows are held by dead sessions: {by_session}")
        for view in self.store.sessions():
            self.need(view.held == by_session[view.session], f"session {view.session}: {view.held} held, "
                                                             f"{by_session[view.session]} rows")
        for row in self.rows.values():
            if row.state in HELD and row.losses >= 2:
                self.need(by_session[row.session] == 1, f"session {row.session} runs something beside an isolated job")

    def _capacities(self) -> None:
        for view in self.store.sessions():
            for pool in view.pools:
                self.need(pool.held <= max(pool.report.capacity, 0) or not pool.report.capacity,
                          f"session {view.session} holds {pool.held} of {pool.report.capacity}")

    # At the end

    def all_done(self) -> bool:
        """Every pushed job has ended."""
        return all(row.state in TERMINAL for row in self.rows.values())

    def final(self) -> None:
        """After all faults were mended and everything has settled."""
        self.need(self.acknowledged <= set(self.rows), "an acknowledged push is missing")
        for view in self.store.sessions():
            self.need(view.held == 0, f"session {view.session} still holds {view.held}")
        for row in self.store._table.rows.values():
            job, seen = row.job, self.rows[row.job.id]
            if seen.state is S.COMPLETED:
                self.need(row.token in self.completed, f"{job.id} is completed, but no run with {row.token} completed")
            if seen.state is S.FAILED and seen.losses < 3:
                lost = seen.losses if seen.once else 0
                self.need(seen.attempts + lost >= 1, f"{job.id} failed without attempt or losses")
            if job.name == "poison":
                self.need(seen.state is not S.COMPLETED, f"{job.id} can't complete")
            if job.name in {"ok", "long"} and seen.state is S.FAILED:
                self.need(seen.losses >= 3, f"{job.id} failed, but was never lost three times")


# Which changes each act may make


def _kept(old: Seen, new: Seen) -> bool:
    return (old.attempts, old.losses, old.step, old.doubts) == (new.attempts, new.losses, new.step, new.doubts)


def _pushed(_checks: Checks, old: Seen | None, new: Seen, *_: Any) -> bool:
    return old is None and new.state in {S.READY, S.DELAYED} and (new.attempts, new.losses) == (0, 0)


def _promoted(_checks: Checks, old: Seen | None, new: Seen, *_: Any) -> bool:
    return old is not None and (old.state, new.state) == (S.DELAYED, S.READY) and _kept(old, new)


def _assigned(checks: Checks, old: Seen | None, new: Seen, _about: Any, newest: Token, _id: str) -> bool:
    if old is None or new.token is None:
        return False
    checks.newest = max(checks.newest, new.token)
    fresh = new.token > newest and new.token not in checks.issued
    checks.issued.add(new.token)
    return old.state is S.READY and new.state in HELD and fresh and _kept(old, new) and not new.started


def _taken(_checks: Checks, old: Seen | None, new: Seen, about: Any, *_: Any) -> bool:
    if old is None or old.token != new.token or not old.session == new.session == about:
        return False
    return (old.state, new.state) == (S.ASSIGNED, S.RUNNING) and _kept(old, new) and not new.started


def _marked(checks: Checks, old: Seen | None, new: Seen, about: Any, _newest: Token, job_id: str) -> bool:
    if old is None or old.state is not S.RUNNING or new != old._replace(started=True):
        return False
    session, batch = about
    named = old.session == session and any(held[1:] == (job_id, old.token) for held in batch)
    return named and (old.token in checks.starts or old.careful)


def _finished(checks: Checks, old: Seen | None, new: Seen, about: Any, _newest: Token, job_id: str) -> bool:
    kinds = [outcome.kind for outcome in about if old is not None and outcome.held[1:] == (job_id, old.token)]
    if old is None or not kinds:
        return False
    kind, cancelled = kinds[0], new.state is S.CANCELLED
    if kind is OutcomeKind.HANDED_BACK:
        return old.state in HELD and new.state in {S.READY, S.CANCELLED} and _kept(old, new)
    final = old.once and kind in {OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.LOST}
    attempt = (kind in CHARGES_ATTEMPT or (final and kind is OutcomeKind.SNOOZED)) and old.step is Step.HANDLE
    attempt = attempt and not (cancelled and kind in {OutcomeKind.RETRY, OutcomeKind.SNOOZED})
    loss = kind is OutcomeKind.LOST and not cancelled
    charged = (new.attempts, new.losses, new.doubts) == (old.attempts + attempt, old.losses + loss, old.doubts)
    ran = old.token in checks.starts or kind is OutcomeKind.CANCELLED
    lands = {
        OutcomeKind.COMPLETED: {S.COMPLETED},
        OutcomeKind.FAILED: {S.FAILED},
        OutcomeKind.CANCELLED: {S.CANCELLED},
        OutcomeKind.LOST: {S.READY, S.CANCELLED} if new.losses < 3 else {S.FAILED},
    }.get(kind, {S.DELAYED, S.READY, S.CANCELLED})
    if final:
        lands = {S.FAILED, S.CANCELLED}
    return old.state is S.RUNNING and charged and ran and new.state in lands


def _released(checks: Checks, old: Seen | None, new: Seen, about: Any, _newest: Token, job_id: str) -> bool:
    session = about[1] if isinstance(about, tuple) else about
    if old is None or old.session != session:
        return False
    if old.state is S.ASSIGNED:
        return new.state is S.READY and _kept(old, new)
    if new.state is S.CANCELLED:  # its cancellation had been asked for
        return old.state is S.RUNNING and _kept(old, new)
    if not old.started:
        if not old.careful:
            checks.world.tell("CHECK", "is in doubt", job_id)
        back = old if old.careful else old._replace(doubts=1)
        return old.state is S.RUNNING and new.state is S.READY and _kept(back, new)
    # A careful job may be marked and not have begun yet. Of all others it is known that they had.
    checks.need(old.token in checks.starts or old.careful, f"{job_id} never started, and is charged")
    lands = S.READY if old.losses < 2 and not old.once else S.FAILED
    charged = _kept(old._replace(losses=old.losses + 1), new)
    return old.state is S.RUNNING and new.state is lands and charged


def _cancelled(_checks: Checks, old: Seen | None, new: Seen, *_: Any) -> bool:
    if old is None or old.state not in {S.DELAYED, S.READY, S.ASSIGNED}:
        return False
    return new.state is S.CANCELLED and _kept(old, new)


def _withdrawn(_checks: Checks, old: Seen | None, new: Seen, *_: Any) -> bool:
    return old is not None and (old.state, new.state) == (S.ASSIGNED, S.READY) and _kept(old, new)


def _retried(checks: Checks, old: Seen | None, new: Seen, _about: Any, _newest: Token, job_id: str) -> bool:
    reset = (new.attempts, new.losses, new.doubts) == (0, 0, 0)
    checks.handles[job_id] = 0
    return old is not None and (old.state, new.state) == (S.FAILED, S.READY) and reset


RULES: dict[str, Any] = {
    "push": _pushed, "promote": _promoted, "assign": _assigned, "take": _taken, "mark_started": _marked,
    "finish": _finished, "end_session": _released, "close_session": _released, "cancel": _cancelled,
    "pause": _withdrawn, "retry": _retried, "fire_tick": _pushed,
}

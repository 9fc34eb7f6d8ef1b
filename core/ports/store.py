"""The contract of a job store: producers, the leader, nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from callboard.core.ports.life import LifeStore
from callboard.core.ports.operators import OperatorStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.ports.clock import Bell
    from callboard.core.records import (
        AssignReceipt,
        BeatReply,
        Characteristics,
        Epoch,
        FinishReceipt,
        Held,
        NewJob,
        NodeInfo,
        Outcome,
        Plan,
        PoolReport,
        Promoted,
        PushReceipt,
        Released,
        SessionId,
        Survey,
        TakenJob,
        TermClaim,
    )


class Producer(Protocol):
    """What a program that pushes needs."""

    def push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        """Write the jobs in one transaction: all or none; durable when this returns.

        An id that the store knows (also of a finished, purged or forgotten job) is left as it is. A leader that waits
        (see `assign`) is rung for a ready job in a queue that it saw empty.

        Raises:
            QueueFull: Raised when a bound is reached; nothing was written.
            PushOutcomeUnknown: Raised when the jobs were sent and no reply came.
        """
        ...

    def store_now_ms(self) -> int:
        """The store's clock: milliseconds since 1970; on one machine it does not follow jumps of the wall clock."""
        ...


class LeaderStore(Protocol):
    """The leader's acts: each is one round trip that compares epoch and owner with the fence for equality.

    Each raises StaleEpoch when they differ, and StoreReset when the store is not the one that was opened.
    """

    def begin_term(self, claim: TermClaim) -> Epoch:
        """Raise the epoch and record the owner; idempotent for the same claim. Durable when it returns.

        Raises:
            TermRefused: Raised when the term's number is lower than the last of the same backend (or equal, with
                another owner), or the cluster id or backend is another than the store's.
        """
        ...

    def survey(self, epoch: Epoch, ready_limit: int) -> Survey:
        """Read live sessions, what they hold, and how much is ready, each queue counted up to ready_limit."""
        ...

    def assign(self, epoch: Epoch, plan: Plan, take_for: SessionId | None = None) -> AssignReceipt:
        """Move the first ready jobs by rank to `assigned` with a new token each; the store issues the tokens.

        Never more than the pool's capacity less what it holds; never to a session that has ended or is draining;
        never from a paused queue; never a job that has expired: such a one is cancelled, and the next one given.
        For `take_for` the rows go to `running` at once and are returned.
        After a plan that gave nothing (an empty one too) the leader waits: the first job that becomes ready in a queue
        that had none rings it, and so does room on a node for what is ready; then no more until it waits again. A
        backlog in one queue silences no other one. Jobs that came since the leader last waited ring at once.
        """
        ...

    def promote_due(self, epoch: Epoch, limit: int) -> Promoted:
        """Move up to `limit` delayed jobs that are due by the store's clock to ready, earliest first.

        Before that, cancel up to `limit` delayed and ready jobs that have expired, of paused queues too.
        """
        ...

    def end_session(self, epoch: Epoch, session: SessionId, reason: str, counter: int | None = None) -> Released:
        """End a node's session and release its rows, in one act. A session that has ended already releases nothing.

        What had begun (by its start mark) is a loss; what had not goes back uncharged (`core.lifecycle.release_event`).
        With `counter` only if that is the session's counter still: a node that has beaten since the leader looked goes
        by the beat's answer, and starts jobs. Otherwise nothing is changed, and the receipt's `ended` is false.
        """
        ...

    def sweep(self, epoch: Epoch, limit: int) -> int:
        """Prune up to `limit` finished rows over the bounds of age and number, and ended sessions; how many went.

        Also recounts what sessions hold and follows the wall clock (see `core/storeclock.py`).
        """
        ...

    def fire_tick(self, epoch: Epoch, schedule: str, last_tick_ms: int, tick_ms: int, jobs: Sequence[NewJob]) -> bool:
        """Move the schedule's last_tick from last_tick_ms to tick_ms and push the jobs, in one act.

        False, and nothing changed, when last_tick was another or the schedule is gone. No job: the tick is skipped.
        """
        ...


class NodeStore(Protocol):
    """A node's acts, fenced by its session and by tokens."""

    def open_session(self, info: NodeInfo, ttl_s: float, pools: Sequence[PoolReport]) -> SessionId:
        """Begin a life of a node. An earlier session of the same node and boot id is returned to it, not doubled.

        Raises:
            Conflict: Raised when a live session of the same node name has another boot id; the message says so.
        """
        ...

    def beat(self, session: SessionId, pools: Sequence[PoolReport]) -> BeatReply:
        """Move the session's counter and replace its pools' reports.

        Raises:
            SessionEnded: Raised when the leader ended it.
        """
        ...

    def report(self, session: SessionId, pools: Sequence[PoolReport]) -> None:
        """Replace the pools' reports between two beats; a raised capacity rings the leader. Raises SessionEnded."""
        ...

    def close_session(self, session: SessionId) -> Released:
        """End the node's own session, its children being dead, and release its rows as `end_session` does."""
        ...

    def take(
        self, session: SessionId, queues: Sequence[str], holding: Sequence[Held] | None = None
    ) -> tuple[TakenJob, ...]:
        """Move the session's assigned rows of these queues to running and return them.

        With `holding` it also returns the session's running rows of these queues that the list does not name
        (a lost reply heals itself).

        Raises:
            SessionEnded: Raised when the session has ended; nothing was moved.
        """
        ...

    def finish(self, session: SessionId, outcomes: Sequence[Outcome]) -> FinishReceipt:
        """Apply outcomes whose token matches, each at most once, all in one transaction; the others are stale.

        Needs the state running; a hand-back also assigned. Works after the session has ended, as long as the
        token is still the job's. Frees capacity: a waiting leader is rung when jobs are ready. Where an operator asked
        for the run to be cancelled, a job that would run again is cancelled instead.
        """
        ...


class JobStore(Producer, LeaderStore, NodeStore, OperatorStore, LifeStore, Protocol):
    """Where jobs live and survive. It is the truth, also about who runs what."""

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        ...

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """Call back, from a thread of the store's own, when `topic` is rung: "leader" or "session-<id>" or "nodes".

        "due" is rung by who wrote a job that is soon due (`core.due`), not by the store. A hint only: it may be
        late, doubled or lost; a slow poll backs it up.
        """
        ...

    def ring(self, topic: str) -> None:
        """Wake who listens. Never blocks, never raises."""
        ...

    def close(self) -> None:
        """Close connections; harmless when repeated."""
        ...

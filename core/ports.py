"""The contracts: what the actors need of a store, a cluster backend, an executor and a clock.

Each has one conformance suite in tests/conformance that every implementation passes on its real server.
Every method may raise `StoreUnavailable` (or `ClusterUnavailable`) within its timeout, and is safe to send again.
Methods may be called from any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.records import (
        AssignReceipt,
        BeatReply,
        CancelResult,
        Characteristics,
        Desired,
        Epoch,
        FenceView,
        FinishReceipt,
        Held,
        JobRecord,
        JobState,
        LockToken,
        NewJob,
        NodeInfo,
        Outcome,
        Plan,
        PoolReport,
        Promoted,
        PushReceipt,
        QueueCounts,
        Released,
        ScheduleRow,
        SessionId,
        SessionView,
        Survey,
        TakenJob,
        Term,
        TermClaim,
        Token,
    )
    from callboard.core.runs import ChildNote, JobSpec, RunEnd, RunningJob


class Clock(Protocol):
    """Two clocks, both readable without I/O."""

    def boot_s(self) -> float:
        """Seconds since the machine started, suspension included; never jumps. For leases and timeouts."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970 by the machine's wall clock; may jump. For showing, never for deciding."""
        ...


class Bell(Protocol):
    """A subscription to a store's or cluster's hints; close() ends it."""

    def close(self) -> None:
        """Stop calling back. Harmless when repeated."""
        ...


class Producer(Protocol):
    """What a program that pushes needs."""

    def push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        """Write the jobs in one transaction: all or none; durable when this returns.

        An id that the store knows (also of a finished, purged or forgotten job) is left as it is. If that clears
        the `idle` flag, the leader is rung.

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
        never from a paused queue. For `take_for` the rows go to `running` at once and are returned.
        A plan that found nothing ready (an empty one too) sets the idle flag when no unpaused queue has a ready job.
        """
        ...

    def promote_due(self, epoch: Epoch, limit: int) -> Promoted:
        """Move up to `limit` delayed jobs that are due by the store's clock to ready, earliest first."""
        ...

    def end_session(self, epoch: Epoch, session: SessionId, reason: str) -> Released:
        """End a node's session and release its rows, in one act. A session that has ended already releases nothing."""
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
        """End the node's own session, its children being dead: assigned rows go back, running ones as lost."""
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
        token is still the job's. Frees capacity: a waiting leader is rung when jobs of the queue are ready.
        """
        ...


class OperatorStore(Protocol):
    """What operators read and order. Each is one transaction."""

    def counts(self, queues: Sequence[str] | None = None) -> tuple[QueueCounts, ...]:
        """Jobs by queue and state; None: every queue that is known."""
        ...

    def fence(self) -> FenceView:
        """The epoch that counts, and whose it is; epoch 0 before the first term."""
        ...

    def sessions(self) -> tuple[SessionView, ...]:
        """Live sessions."""
        ...

    def job(self, job_id: str) -> JobRecord | None:
        """One job, or None."""
        ...

    def jobs(
        self, state: JobState, queue: str | None, limit: int, before_id: str | None = None
    ) -> tuple[JobRecord, ...]:
        """Jobs of one state, newest first, at most limit (1 to 1,000); before_id pages on."""
        ...

    def retry_failed(self, job_id: str, token: Token | None) -> None:
        """Compare-and-set on the failed row's last token (None: whatever it is): ready again, counts from zero.

        Raises:
            NotFound: Raised when no failed job has that id.
            Conflict: Raised when the token is another, or its unique key is held by another job.
        """
        ...

    def forget_failed(self, job_ids: Sequence[str] | None, queue: str | None = None) -> int:
        """Take failed jobs off the list (None: all, of the queue if given); ids stay remembered. How many."""
        ...

    def cancel(self, job_id: str) -> CancelResult:
        """Cancel a job that waits; ask the node of one that runs. Raises NotFound."""
        ...

    def purge(self, queue: str) -> int:
        """Forget the queue's delayed, ready and assigned jobs; running ones are left alone. How many."""
        ...

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """Pause or resume a queue: while paused nothing is assigned; pausing withdraws what is assigned, uncharged."""
        ...

    def set_desired(self, desired: Desired) -> None:
        """Order a number of slots for a queue, per node or for all."""
        ...

    def set_draining(self, node: str, *, draining: bool) -> None:
        """Order that a node gets nothing new; durable by node name."""
        ...

    def schedules(self) -> tuple[ScheduleRow, ...]:
        """All cron entries."""
        ...

    def put_schedule(self, row: ScheduleRow) -> None:
        """Add or replace an entry by name; an unchanged one keeps its last_tick, a changed one starts from row's."""
        ...

    def remove_schedule(self, name: str) -> bool:
        """Remove an entry; whether it was there."""
        ...


class JobStore(Producer, LeaderStore, NodeStore, OperatorStore, Protocol):
    """Where jobs live and survive. It is the truth, also about who runs what."""

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        ...

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """Call back, from a thread of the store's own, when `topic` is rung: "leader" or "session-<id>" or "nodes".

        A hint only: it may be late, doubled or lost; a slow poll backs it up.
        """
        ...

    def ring(self, topic: str) -> None:
        """Wake who listens. Never blocks, never raises."""
        ...

    def close(self) -> None:
        """Close connections; harmless when repeated."""
        ...


class ClusterBackend(Protocol):
    """Coordination only: registration, locks, election, broadcast. Permission, never the truth about jobs."""

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        ...

    @property
    def cluster_id(self) -> str:
        """Names the installation; with `characteristics.name` it goes into the TermClaim."""
        ...

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call; called again to stay one."""
        ...

    def unregister(self, boot_id: str) -> None:
        """Leave at once. Harmless when repeated."""
        ...

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now."""
        ...

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s, or None when another holds it. Never waits.

        The holder's own call, sent again, gets the same lock (the same number) for ttl_s from now.
        """
        ...

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock; False when it had expired or passed on: nothing is changed then."""
        ...

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force, also one of the owner's own. Never waits.

        A term that is granted always has a new number: an answer that comes late can then be resigned, whatever was
        granted since. `watch` tells when to try again.
        """
        ...

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term for ttl_s (at least the ttl_s that was granted); False when it is over.

        Uses a connection of its own.
        """
        ...

    def resign(self, term: Term) -> None:
        """End exactly this term; an older one is left alone. Harmless when repeated."""
        ...

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        ...

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back, from a thread of the backend's own, when leadership or membership may have changed. A hint.

        Called once soon after it began, too: what changed just before is not missed.
        """
        ...

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber, the sender's own too (64 KiB at most); `characteristics` says what may be lost.

        Raises:
            PayloadTooLarge: Raised when it is longer.
        """
        ...

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on, from a thread of the backend's own."""
        ...

    def close(self) -> None:
        """Close connections; harmless when repeated."""
        ...


class ExecutorEvents(Protocol):
    """Who an executor tells what happened. Called from the executor's own thread; must not block."""

    def on_ends(self, completed: Sequence[Token], others: Sequence[RunEnd]) -> None:
        """Runs ended: those that simply completed (the hot path), and the others with what became of them."""
        ...

    def on_notes(self, notes: Sequence[ChildNote]) -> None:
        """Something worth an event: output of a job, its progress, a child started, recycled, killed or dead."""
        ...


class Executor(Protocol):
    """One pool's children and slots. The node's own process runs no user code.

    Each job given to `submit` comes back through `on_ends` exactly once, whatever happens to its child, unless
    `abandon` dropped it.
    """

    def start(self, events: ExecutorEvents) -> None:
        """Fork the first children. Returns at once."""
        ...

    def submit(self, jobs: Sequence[TakenJob]) -> None:
        """Run these, as slots come free. A job with losses runs with nothing queued behind it. Never blocks."""
        ...

    def capacity(self) -> int:
        """Rows the pool may hold now: slots, and about 10 ms of expected work ahead of each child."""
        ...

    def resize(self, slots: int) -> None:
        """Change the number of slots; growing is at once, shrinking lets what runs end. 0 is allowed."""
        ...

    def set_timeout(self, timeout_s: float) -> None:
        """The time limit of jobs that name none themselves; for runs that start from now on."""
        ...

    def set_lease(self, deadline_boot_s: float) -> None:
        """No job starts after this instant of CLOCK_BOOTTIME; children check it before each job."""
        ...

    def cancel(self, token: Token) -> None:
        """Stop one job: in the backlog at once, running by its child's death. Ends as CANCELLED."""
        ...

    def running(self) -> tuple[RunningJob, ...]:
        """What runs now."""
        ...

    def abandon(self) -> int:
        """The session is over: kill all children now and wait for their death, drop what they held, fork anew.

        How many jobs were dropped; no end is reported for them.
        """
        ...

    def hold(self) -> None:
        """Start nothing more; what waits comes back as NOT_STARTED. First half of a graceful stop."""
        ...

    def stop(self, deadline_boot_s: float) -> None:
        """hold(), let what runs end until the deadline, then kill it, wait for its death, report it INTERRUPTED.

        Returns when no child is left and every end was reported. May be called again meanwhile, from another thread,
        with an earlier deadline: the earliest holds.
        """
        ...


class ExecutorHost(Protocol):
    """The template process of a node: imports the user's modules once, and forks every pool's children."""

    def start(self) -> tuple[JobSpec, ...]:
        """Start the template and wait until it has imported the app.

        Raises:
            AppImportFailed: Raised when the app can't be imported; the message carries its traceback's last lines.
        """
        ...

    def executor(self, pool: str, slots: int) -> Executor:
        """An executor for one pool, not started yet."""
        ...

    def stop(self) -> None:
        """End the template and every child that is left. Harmless when repeated."""
        ...

"""The contract of executors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import (
        TakenJob,
        Token,
    )
    from callboard.core.runs import ChildNote, JobSpec, RunEnd, RunningJob


class ExecutorEvents(Protocol):
    """Who an executor tells what happened. Called from the executor's own thread; must not block."""

    def on_ends(self, completed: Sequence[Token], others: Sequence[RunEnd]) -> None:
        """Runs ended: those that simply completed (the hot path), and the others with what became of them."""
        ...

    def on_poised(self, tokens: Sequence[Token]) -> None:
        """Each of these careful jobs has a slot kept free for it, and starts when it is admitted."""
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
        """Run these, as slots come free. A job with losses runs with nothing queued behind it. Never blocks.

        A careful job gets a free slot with nothing queued behind it, is told of by `on_poised`, and starts only when it
        is admitted; the others go on meanwhile. One whose child ends before that is told of again.
        """
        ...

    def admit(self, tokens: Sequence[Token], refused: Sequence[Token] = ()) -> None:
        """Start careful jobs now; the refused ones end as NOT_STARTED. Those that have no slot kept are left alone."""
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

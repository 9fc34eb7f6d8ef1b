"""The runs of a pool while they go on: what the store hears of them (start marks, progress), and what stops them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from callboard.actors.base import Actor, Parts, handles
from callboard.actors.ends import EndsBuffer
from callboard.actors.marks import LOOK_S, Marks
from callboard.core.errors import QueueError
from callboard.core.messages import CancelJobs, EndsReady, MarkDue, Marked, ProgressDue
from callboard.core.records import Held, Progress

if TYPE_CHECKING:
    from callboard.actors.lane import Lane
    from callboard.core.config import PoolConfig
    from callboard.core.records import SessionId, TakenJob, Token

PROGRESS_S: Final = 0.5
"""Least seconds between two reports of progress to the store; the first one goes at once."""


class Running(Actor):
    """The part of a Worker that sees to what runs.

    Its calls of the store have a thread of their own: a mark must hold up neither a take nor an outcome.
    """

    def __init__(self, name: str, parts: Parts, pool: PoolConfig) -> None:
        """Nothing runs yet."""
        super().__init__(name, parts)
        self._executor = parts.host.executor(pool.name, pool.slots)
        self._ends = EndsBuffer(self.teller(name, EndsReady()), self.teller(name, ProgressDue()), self._note)
        self._session: SessionId | None = None
        self._held: dict[Token, TakenJob] = {}
        self._life_lane: Lane | None = None
        self._marks = Marks(parts.store, self._executor, self.tell_self)
        self._look_at_s = math.inf
        self._mark_error = ""
        self._reported_s = -PROGRESS_S
        self._reporting = False

    # Start marks

    def _look_soon(self, delay_s: float = LOOK_S) -> None:
        """Look what goes on a little later; from any cause, one look."""
        at_s = self.now() + delay_s
        if at_s < self._look_at_s:
            self._look_at_s = at_s
            self.later(delay_s, MarkDue())

    def _stirred(self) -> None:
        """Jobs were handed out, or ended: something may begin now."""
        self._marks.pause_s = LOOK_S
        self._look_soon()

    @handles(MarkDue)
    def mark_due(self, _message: MarkDue) -> None:
        """Something began, or went on behind another's end."""
        self._look_at_s = math.inf
        self._look()

    def _look(self) -> None:
        if self._session is None or self._life_lane is None or not self._held:
            return
        pause_s = self._marks.look(self._session, self._life_lane, self._held, self.now())
        if pause_s is not None:
            self._look_soon(pause_s)

    @handles(Marked)
    def marked(self, message: Marked) -> None:
        """The store took marks, refused some, or could not be reached."""
        again = self._marks.answered(message)
        if message.error:
            if message.error != self._mark_error:  # one event for an outage, however often it is tried
                self._mark_error = message.error
                self.emit("worker.mark_failed", error=message.error)
            self._look_soon(self._marks.retry_s)
            return
        self._mark_error = ""
        for token in message.refused:
            if token in self._held:  # the job is another's now, or its session is over: its end will be stale
                self._executor.cancel(token)
        if again:
            self._look()

    # Progress

    @handles(ProgressDue)
    def progress_due(self, _message: ProgressDue) -> None:
        """Jobs said how far they are: tell the store the newest of each, twice a second at most."""
        session, lane = self._session, self._life_lane
        if session is None or lane is None:
            return
        wait_s = PROGRESS_S if self._reporting else self._reported_s + PROGRESS_S - self.now()
        if wait_s > 0:
            self.later(wait_s, ProgressDue())
            return
        said = self._ends.progress()
        held = self._held
        reports = [Progress(Held(held[token].ref, held[token].id, token), fraction, text)
                   for token, (fraction, text) in said.items() if token in held]
        if not reports:
            return
        self._reported_s = self.now()
        self._reporting = True

        def call() -> None:
            try:
                self.parts.store.report_progress(session, reports)
            except QueueError:
                self._ends.say_again(said)
                self.tell_self(ProgressDue())
            finally:
                self._reporting = False

        lane.run(call)

    def _note(self, event: str, pid: int, token: Token | None, fields: dict[str, Any]) -> None:
        """From the executor's thread: a child said something."""
        job = None if token is None else self._held.get(token)
        about = {} if job is None else {"job": job.id, "queue": job.queue, "token": list(job.token)}
        self.emit(event, pid=pid, **about, **fields)

    # Cancelling

    @handles(CancelJobs)
    def cancel_jobs(self, message: CancelJobs) -> None:
        """Stop running jobs that an operator cancelled."""
        for cancel in message.cancels:
            if cancel.token in self._held:
                self.emit("worker.cancelling", job=cancel.id)
                self._executor.cancel(cancel.token)

"""Outcomes on their way to the store: one batch is sent at a time, the next one gathers meanwhile."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from callboard.core.due import DUE_TOPIC, due_soon
from callboard.core.errors import QueueError
from callboard.core.messages import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from callboard.actors.lane import Lane
    from callboard.core.ports import JobStore
    from callboard.core.records import Outcome, SessionId

BATCH_MAX = 2_000
"""Outcomes in one call of the store."""
BATCH_MAX_BYTES = 4 << 20
"""Errors and results in one call, in bytes; a single outcome has less."""
RETRY_S = (0.05, 2.0)
"""First and longest pause before a batch that the store could not take is sent again."""


class Outbox:
    """A Worker's outcomes. A batch stays here until the store has answered: what is sent twice counts once there."""

    def __init__(self, store: JobStore, answer: Callable[[Finished], None]) -> None:
        """`answer` tells the Worker, from the lane's thread."""
        self._store = store
        self._answer = answer
        self._waiting: list[Outcome] = []
        self._sending: list[Outcome] = []
        self.retry_s = 0.0

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Queue outcomes."""
        self._waiting += outcomes

    def flush(self, session: SessionId | None, lane: Lane | None) -> None:
        """Send the next batch, unless one is on its way."""
        if not self._sending and self._waiting and session is not None and lane is not None:
            size = batch_size(self._waiting)
            self._sending, self._waiting = self._waiting[:size], self._waiting[size:]
            self._send(session, lane)

    def resend(self, session: SessionId | None, lane: Lane | None) -> None:
        """Send the batch again that the store could not take."""
        if self._sending and session is not None and lane is not None:
            self._send(session, lane)

    def _send(self, session: SessionId, lane: Lane) -> None:
        batch = self._sending

        def call() -> None:
            try:
                answer = Finished(self._store.finish(session, batch))
                if due_soon(outcome.delay_s for outcome in batch):
                    self._store.ring(DUE_TOPIC)
            except QueueError as error:
                answer = Finished(None, str(error))
            self._answer(answer)

        lane.run(call)

    def failed(self) -> float:
        """The store could not take the batch: seconds until it is to be sent again, with jitter."""
        first_s, longest_s = RETRY_S
        self.retry_s = min(longest_s, max(first_s, self.retry_s * 2)) * random.uniform(0.7, 1.0)  # noqa: S311 - jitter
        return self.retry_s

    def settled(self) -> list[Outcome]:
        """The store has the batch."""
        self.retry_s = 0.0
        batch, self._sending = self._sending, []
        return batch

    def drop(self) -> None:
        """The session is over: nothing that waits counts any more. A batch on its way is answered all the same."""
        self._waiting.clear()

    def rest(self) -> list[Outcome]:
        """Everything that the store has not confirmed."""
        return self._sending + self._waiting


def batch_size(outcomes: Sequence[Outcome]) -> int:
    """How many of the first go in one call."""
    room = BATCH_MAX_BYTES
    for number, outcome in enumerate(outcomes[:BATCH_MAX]):
        if outcome.error is not None or outcome.result is not None:
            room -= len(outcome.error or b"") + len(outcome.result or b"")
            if room < 0:
                return max(number, 1)
    return min(len(outcomes), BATCH_MAX)

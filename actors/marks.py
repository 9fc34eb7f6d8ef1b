"""Which runs the store knows to have begun: marks in batches, after the start; before it where a job is careful."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from callboard.core.errors import QueueError
from callboard.core.messages import Marked
from callboard.core.records import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from callboard.actors.lane import Lane
    from callboard.core.ports import Executor, JobStore
    from callboard.core.records import SessionId, TakenJob, Token

LOOK_S: Final = 0.005
"""Seconds from a start to the look whether it goes on: what is shorter is never marked, and costs no call."""
LOOK_MAX_S: Final = 1.0
"""Longest pause between two looks while a job has not begun."""
AGE_S: Final = 0.004
"""What has run for so long at a look is marked."""
RETRY_S: Final = (0.05, 2.0)
"""First and longest pause before marks are sent again that the store could not take."""


class Marks:
    """One call of the store at a time; what begins meanwhile goes with the next one.

    A careful job is admitted by the call's own thread as soon as the store has its mark: what lies between is all that
    can be charged without having started.

    Attributes:
        pause_s: from the last look to the next one.
        retry_s: until marks are sent again that the store could not take; 0 while it takes them.
    """

    def __init__(self, store: JobStore, executor: Executor, answer: Callable[[Marked], None]) -> None:
        """`answer` tells the Worker, from the lane's thread."""
        self._store = store
        self._executor = executor
        self._answer = answer
        self._marked: set[Token] = set()
        self._asked: dict[Token, Held] = {}
        self._asking: dict[Token, Held] = {}
        self._busy = False
        self._again = False
        self.pause_s = LOOK_S
        self.retry_s = 0.0

    def ask(self, tokens: Iterable[Token], held: Mapping[Token, TakenJob]) -> None:
        """These careful jobs wait for their marks."""
        for token in tokens:
            job = held.get(token)
            if job is not None:
                self._asked[token] = Held(job.ref, job.id, token)

    def forget(self, token: Token) -> None:
        """This job has ended, or was handed back."""
        if self._asked:
            self._asked.pop(token, None)

    def look(self, session: SessionId, lane: Lane, held: Mapping[Token, TakenJob], now_s: float) -> float | None:
        """Have the store note what has begun; seconds until a look is due again, if nothing is heard until then.

        What is too young is looked at soon. What has not begun waits for others, whose ends are heard of, or for a
        child that is still to come, which nobody tells of: for that the pauses grow. None: all have their marks.
        """
        if self._busy:
            self._again = True
            return None
        self._marked = {token for token in self._marked if token in held}
        due: list[Held] = []
        young = False
        for run in self._executor.running():
            job = held.get(run.token)
            if job is None or run.token in self._marked:
                continue
            if now_s - run.started_boot_s >= AGE_S:
                due.append(Held(job.ref, job.id, run.token))
            else:
                young = True
        if due or self._asked:
            self._asking, self._asked = self._asked, {}
            self._busy, self._again = True, False
            careful = tuple(self._asking.values())
            lane.run(lambda: self._call(session, careful, due))
        if young:
            self.pause_s = LOOK_S
        elif len(self._marked) + len(due) < len(held):
            self.pause_s = min(self.pause_s * 2, LOOK_MAX_S)
        else:
            return None
        return self.pause_s

    def _call(self, session: SessionId, careful: Sequence[Held], due: Sequence[Held]) -> None:
        """On the lane's thread."""
        try:
            refused = {held.token for held in self._store.mark_started(session, (*careful, *due))}
        except QueueError as error:
            self._answer(Marked(error=str(error)))
            return
        asked = [held.token for held in careful]
        self._executor.admit([token for token in asked if token not in refused],
                             [token for token in asked if token in refused])
        marked = tuple(held.token for held in (*careful, *due) if held.token not in refused)
        self._answer(Marked(marked, tuple(held.token for held in due if held.token in refused)))

    def answered(self, message: Marked) -> bool:
        """The store has the marks, or could not take them (`retry_s` is set); whether a look is due."""
        self._busy = False
        asking, self._asking = self._asking, {}
        if message.error:
            first_s, longest_s = RETRY_S
            pause_s = min(longest_s, max(first_s, self.retry_s * 2))
            self.retry_s = pause_s * random.uniform(0.7, 1.0)  # noqa: S311 - jitter
            self._asked = {**asking, **self._asked}
            return False
        self.retry_s = 0.0
        self._marked.update(message.marked)
        return self._again or bool(self._asked)

    def drop(self) -> None:
        """The session is over: nothing of it counts any more. A call on its way is answered all the same."""
        self._marked.clear()
        self._asked.clear()
        self._asking.clear()

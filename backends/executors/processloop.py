"""A process child: one job at a time, in the main thread."""

from __future__ import annotations

import signal
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.executors.aio import AsyncRunner
from callboard.backends.executors.childbase import COMPLETED, STARTED, Account, ChildBase
from callboard.backends.executors.runjob import Ending, Run, describe
from callboard.backends.executors.shared import FIRST_SLOT, INDEX, MASK, NS, OVERRUN, START, boot_ns
from callboard.backends.executors.wire import ToChild
from callboard.core.errors import TimeLimitExceeded
from callboard.core.job import enter_job
from callboard.core.records import TakenJob
from callboard.core.runs import EndKind

if TYPE_CHECKING:
    from types import FrameType

SOFT_SIGNAL: Final = signal.SIGRTMIN + 11
"""Tells a process child that its job has overrun; a real-time signal, as jobs may use the others themselves."""

_START: Final = FIRST_SLOT + START
_INDEX: Final = FIRST_SLOT + INDEX
_OVERRUN: Final = FIRST_SLOT + OVERRUN


class ProcessChild(ChildBase):
    """Runs what comes, in order."""

    _armed = 0  # index of the job whose user code is being executed
    _struck = 0  # index of the job that TimeLimitExceeded was raised in
    _shield = 0  # above 0: a frame is being sent, and half a frame would be the end of the socket
    _timeout_s = 0.0

    def serve(self) -> None:
        """Run jobs until the node says END."""
        self._aio = AsyncRunner()
        self._account = Account(self.channel)
        self.channel.nudge = self._post
        signal.signal(SOFT_SIGNAL, self._on_signal)
        self.ready()
        while True:
            frames = self.receive(wait=False)
            if not frames:
                if self._account.unsaid:
                    self._account.say()
                frames = self.receive(wait=True)
            for kind, *rest in frames:
                if kind == ToChild.RUN:
                    self._batch(*rest)
                elif kind == ToChild.END:
                    return

    def _batch(self, first: int, default_timeout_s: float, jobs: list[list[Any]]) -> None:
        words, ring = self.memory.words, self.memory.ring
        for index, fields in enumerate(jobs, first):
            job = TakenJob._make(fields)
            now_ns = boot_ns()
            self._account.say_if_old(now_ns)
            words[_START] = now_ns
            words[_INDEX] = index
            ring[index & MASK] = STARTED
            if self.may_start(index, now_ns):
                ending = self._run(index, job, now_ns, job.timeout_s or default_timeout_s)
                end_ns = boot_ns()
                if ending is None:
                    ring[index & MASK] = COMPLETED
                else:
                    self.report(index, ending, (end_ns - now_ns) / NS)
                self._account.add(job.name, now_ns, end_ns)
            words[_INDEX] = 0

    def _run(self, index: int, job: TakenJob, now_ns: int, timeout_s: float) -> Ending | None:
        run = self.runs.begin(job, now_ns, timeout_s)
        if isinstance(run, Ending):
            return run
        self._timeout_s = timeout_s
        self.output.context = run.context
        try:
            ending = self._guarded(index, run)
        except BaseException as error:  # noqa: BLE001 - the limit struck while the exception was judged
            ending = Ending(EndKind.TIMED_OUT, describe(error)._replace(kind="Timeout"))
        self.output.finish(run.context.token)
        self.output.context = None
        return ending

    def _guarded(self, index: int, run: Run) -> Ending | None:
        try:
            self._armed = index
            copy_context().run(self._user_code, run)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an end of the job
            if self.forked:
                self.leave_fork(error)
            return self.runs.judge(run, error)
        finally:
            self._armed = 0
        return run.ending()

    def _user_code(self, run: Run) -> None:
        enter_job(run.context)
        result = run.call()
        if result is not None:
            run.returned(self._aio.run(result) if hasattr(result, "__await__") else result)
        if self.forked:
            self.leave_fork(None)

    def _post(self) -> None:
        """Send from user code; the limit waits meanwhile."""
        if threading.current_thread() is not threading.main_thread():
            self.channel.drain()
            return
        self._shield += 1
        try:
            self.channel.drain()
        finally:
            self._shield -= 1
        self._strike()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._strike()

    def _strike(self) -> None:
        """Raise TimeLimitExceeded if the job that runs is the one that the node means, once."""
        index = self._armed
        if not index or self._shield or self._struck == index or self.memory.words[_OVERRUN] != index or self.forked:
            return
        self._struck = index
        message = f"the job ran longer than its timeout of {self._timeout_s:g} s"
        if not self._aio.cancel(message, only_waiting=True):
            raise TimeLimitExceeded(message)

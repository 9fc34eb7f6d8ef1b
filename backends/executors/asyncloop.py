"""An asyncio child: several slots in one event loop; plain functions run in threads beside it."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

from callboard.backends.executors.childbase import COMPLETED, STARTED, Account, ChildBase, limit_memory
from callboard.backends.executors.options import SLOTS_MAX
from callboard.backends.executors.runjob import Ending, Run, describe
from callboard.backends.executors.shared import FIRST_SLOT, INDEX, MASK, NS, SLOT_WORDS, START, boot_ns
from callboard.backends.executors.strike import Target
from callboard.backends.executors.threadloop import Given, say_timeout
from callboard.backends.executors.wire import ToChild
from callboard.core.errors import TimeLimitExceeded
from callboard.core.job import enter_job
from callboard.core.records import TakenJob
from callboard.core.runs import EndKind


class Slot:
    """One slot, and what runs in it."""

    def __init__(self, number: int) -> None:
        """Its words are those of this number."""
        self.number = number
        self.at = FIRST_SLOT + SLOT_WORDS * number
        self.target = Target()
        self.task: asyncio.Task[None] | None = None
        self.is_async = True
        self.limited = False


class AsyncChild(ChildBase):
    """Runs async jobs in its loop."""

    def serve(self) -> None:
        """Run jobs until the node says END."""
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._account = Account(self.channel)
        self._waiting: deque[Given] = deque()
        self._busy: dict[int, Slot] = {}
        self._free: list[int] = []
        self._slots = 0
        self._saying = False
        self._ended = False
        self._threads: ThreadPoolExecutor | None = None
        self.channel.nudge = self._nudge
        self._resize(self.settings.slots)
        self._loop.add_reader(self.channel.sock, self._readable)
        self.ready()
        while not self._ended:
            try:
                self._loop.run_forever()  # a job may stop the loop: it goes on
            except (SystemExit, KeyboardInterrupt):
                traceback.print_exc(file=sys.stderr)  # a task that a job started and did not wait for

    def _nudge(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.channel.drain()
        else:
            self._loop.call_soon_threadsafe(self.channel.drain)

    def _readable(self) -> None:
        for kind, *rest in self.receive(wait=False):
            if kind == ToChild.RUN:
                self._take(*rest)
            elif kind == ToChild.LIMIT:
                self._limit(*rest)
            elif kind == ToChild.SLOTS:
                self._resize(*rest)
            elif kind == ToChild.END:
                self._ended = True
                self._loop.stop()
        self._start()

    def _take(self, first: int, default_timeout_s: float, jobs: list[list[Any]]) -> None:
        for index, fields in enumerate(jobs, first):
            job = TakenJob._make(fields)
            self._waiting.append(Given(index, job, job.timeout_s or default_timeout_s))

    def _resize(self, slots: int) -> None:
        limit_memory(self.settings.memory_max_bytes, slots)
        self._slots = slots
        self._free = sorted({*range(slots)} - self._busy.keys(), reverse=True)
        self._start()

    def _limit(self, index: int) -> None:
        for slot in self._busy.values():
            if self.memory.words[slot.at + INDEX] != index:
                continue
            if not slot.is_async:
                slot.target.strike(index)
            elif slot.task is not None:
                slot.limited = True
                slot.task.cancel()
            return

    def _start(self) -> None:
        """Start what waits, as slots are free."""
        words, ring = self.memory.words, self.memory.ring
        while self._waiting and self._free and len(self._busy) < self._slots:
            given = self._waiting.popleft()
            slot = Slot(self._free.pop())
            now_ns = boot_ns()
            words[slot.at + START] = now_ns
            words[slot.at + INDEX] = given.number
            ring[given.number & MASK] = STARTED
            if not self.may_start(given.number, now_ns):
                words[slot.at + INDEX] = 0
                self._free.append(slot.number)
                continue
            self._busy[slot.number] = slot
            context = copy_context()
            slot.task = self._loop.create_task(self._one(slot, given, now_ns, context), context=context)

    async def _one(self, slot: Slot, given: Given, now_ns: int, context: Context) -> None:
        """One job, in a task of its own."""
        index, job, timeout_s = given
        run = self.runs.begin(job, now_ns, timeout_s)
        if isinstance(run, Ending):
            ending: Ending | None = run
        else:
            enter_job(run.context)
            ending = say_timeout(await self._guarded(slot, index, run, context), timeout_s)
            self.output.finish(run.context.token)
        end_ns = boot_ns()
        if ending is None:
            self.memory.ring[index & MASK] = COMPLETED
        else:
            self.report(index, ending, (end_ns - now_ns) / NS)
        self._account.add(job.name, now_ns, end_ns)
        self.memory.words[slot.at + INDEX] = 0
        del self._busy[slot.number]
        if slot.number < self._slots:
            self._free.append(slot.number)
        if not self._saying:
            self._saying = True
            self._loop.call_soon(self._say)
        self._start()

    def _say(self) -> None:
        """Tell of all that completed in this turn of the loop."""
        self._saying = False
        if self._account.unsaid:
            self._account.say()

    async def _guarded(self, slot: Slot, index: int, run: Run, context: Context) -> Ending | None:
        try:
            if run.definition.is_async:
                result = run.call()
            else:
                slot.is_async = False
                result = await self._loop.run_in_executor(self._pool(), self._in_thread, slot, index, run, context)
                slot.is_async = True
            if isinstance(result, Ending):
                return result
            if result is not None and hasattr(result, "__await__"):
                run.returned(await result)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an end of the job
            if self.forked:
                self.leave_fork(error)
            if slot.limited and isinstance(error, asyncio.CancelledError):
                limit = TimeLimitExceeded()
                limit.__cause__ = error
                return self.runs.judge(run, limit)
            return self.runs.judge(run, error)
        if self.forked:
            self.leave_fork(None)
        return run.ending()

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(SLOTS_MAX, "slot")
        return self._threads

    def _in_thread(self, slot: Slot, index: int, run: Run, context: Context) -> Any:
        """A plain function's run; what is to be awaited, or its Ending."""
        try:
            try:
                return self._plain(slot, index, run, context)
            finally:
                slot.target.disarm()
        except BaseException as error:  # noqa: BLE001 - the limit struck while the exception was judged
            slot.target.disarm()
            return Ending(EndKind.TIMED_OUT, describe(error)._replace(kind="Timeout"))

    def _plain(self, slot: Slot, index: int, run: Run, context: Context) -> Any:
        try:
            slot.target.arm(index)
            result = context.copy().run(self._called, run)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an end of the job
            if self.forked:
                self.leave_fork(error)
            return self.runs.judge(run, error)
        if self.forked:
            self.leave_fork(None)
        return result

    @staticmethod
    def _called(run: Run) -> Any:
        """What is to be awaited; everything else that was returned is seen to here, where its time limit holds."""
        result = run.call()
        if hasattr(result, "__await__"):
            return result
        run.returned(result)
        return None

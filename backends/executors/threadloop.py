"""A thread child: several slots, a thread for each; the main thread reads the socket."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
from contextvars import copy_context
from typing import Any, Final, NamedTuple

from callboard.backends.executors.aio import AsyncRunner
from callboard.backends.executors.childbase import COMPLETED, STARTED, Account, ChildBase, limit_memory
from callboard.backends.executors.runjob import Ending, Run, describe
from callboard.backends.executors.shared import FIRST_SLOT, INDEX, MASK, NS, SLOT_WORDS, START, boot_ns
from callboard.backends.executors.strike import Target
from callboard.backends.executors.wire import ToChild
from callboard.core.job import enter_job
from callboard.core.records import TakenJob
from callboard.core.runs import EndKind


class Given(NamedTuple):
    """A job that waits in the child."""

    number: int
    job: TakenJob
    timeout_s: float


class Slot:
    """One slot: where its thread's state stands in the shared memory, and how its job is interrupted."""

    def __init__(self, number: int) -> None:
        """Its words are those of this number."""
        self.number = number
        self.at = FIRST_SLOT + SLOT_WORDS * number
        self.target = Target()
        self.aio = AsyncRunner()
        self.timeout_s = 0.0


class ThreadChild(ChildBase):
    """Runs jobs side by side; each is whole in one thread."""

    def serve(self) -> None:
        """Run jobs until the node says END."""
        self._waiting: queue.SimpleQueue[Given | None] = queue.SimpleQueue()
        self._slots: dict[int, Slot] = {}
        self._surplus = 0
        self._lock = threading.Lock()
        bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.channel.nudge = lambda: os.eventfd_write(bell, 1)
        self._resize(self.settings.slots)
        poll = select.poll()
        poll.register(self.channel.sock, select.POLLIN)
        poll.register(bell, select.POLLIN)
        self.ready()
        while True:
            ready = dict(poll.poll())
            if bell in ready:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(bell)
                self.channel.drain()
            if self.channel.sock.fileno() not in ready:
                continue
            for kind, *rest in self.receive(wait=False):
                if kind == ToChild.RUN:
                    self._take(*rest)
                elif kind == ToChild.LIMIT:
                    self._limit(*rest)
                elif kind == ToChild.SLOTS:
                    self._resize(*rest)
                elif kind == ToChild.END:
                    return

    def _take(self, first: int, default_timeout_s: float, jobs: list[list[Any]]) -> None:
        put = self._waiting.put
        for index, fields in enumerate(jobs, first):
            job = TakenJob._make(fields)
            put(Given(index, job, job.timeout_s or default_timeout_s))

    def _resize(self, slots: int) -> None:
        """Start threads, or let as many end as they come free."""
        limit_memory(self.settings.memory_max_bytes, slots)
        with self._lock:
            missing = slots - (len(self._slots) - self._surplus)
            for number in range(slots + len(self._slots)):
                if missing <= 0:
                    break
                if number not in self._slots:
                    slot = self._slots[number] = Slot(number)
                    threading.Thread(target=self._work, args=(slot,), name=f"slot-{number}", daemon=True).start()
                    missing -= 1
            self._surplus += max(-missing, 0)
        for _ in range(-missing):
            self._waiting.put(None)

    def _limit(self, index: int) -> None:
        """A job has overrun: raise TimeLimitExceeded in it."""
        for slot in list(self._slots.values()):
            if self.memory.words[slot.at + INDEX] == index:
                if not slot.aio.cancel(timeout_message(slot.timeout_s), only_waiting=False):
                    slot.target.strike(index)
                return

    def _work(self, slot: Slot) -> None:
        """A slot's thread."""
        account = Account(self.channel)
        while True:
            try:
                given = self._waiting.get_nowait()
            except queue.Empty:
                if account.unsaid:
                    account.say()
                given = self._waiting.get()
            if given is None:
                break
            self._one(slot, account, *given)
        if account.unsaid:
            account.say()
        slot.aio.close()
        with self._lock:
            del self._slots[slot.number]
            self._surplus -= 1

    def _one(self, slot: Slot, account: Account, index: int, job: TakenJob, timeout_s: float) -> None:
        words, ring = self.memory.words, self.memory.ring
        now_ns = boot_ns()
        account.say_if_old(now_ns)
        words[slot.at + START] = now_ns
        words[slot.at + INDEX] = index
        ring[index & MASK] = STARTED
        if self.may_start(index, now_ns):
            ending = self._run(slot, index, job, now_ns, timeout_s)
            end_ns = boot_ns()
            if ending is None:
                ring[index & MASK] = COMPLETED
            else:
                self.report(index, ending, (end_ns - now_ns) / NS)
            account.add(job.name, now_ns, end_ns)
        words[slot.at + INDEX] = 0

    def _run(self, slot: Slot, index: int, job: TakenJob, now_ns: int, timeout_s: float) -> Ending | None:
        run = self.runs.begin(job, now_ns, timeout_s)
        if isinstance(run, Ending):
            return run
        slot.timeout_s = timeout_s
        try:
            try:
                ending = self._guarded(slot, index, run)
            finally:
                slot.target.disarm()
        except BaseException as error:  # noqa: BLE001 - the limit struck while the exception was judged
            slot.target.disarm()
            ending = Ending(EndKind.TIMED_OUT, describe(error)._replace(kind="Timeout"))
        self.output.finish(run.context.token)
        return say_timeout(ending, timeout_s)

    def _guarded(self, slot: Slot, index: int, run: Run) -> Ending | None:
        try:
            slot.target.arm(index)
            copy_context().run(self._user_code, slot, run)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an end of the job
            if self.forked:
                self.leave_fork(error)
            return self.runs.judge(run, error)
        return run.ending()

    def _user_code(self, slot: Slot, run: Run) -> None:
        enter_job(run.context)
        result = run.call()
        if result is not None:
            run.returned(slot.aio.run(result) if hasattr(result, "__await__") else result)
        if self.forked:
            self.leave_fork(None)


_TIMEOUT: Final = "the job ran longer than its timeout of {:g} s"


def timeout_message(timeout_s: float) -> str:
    """Of a TimeLimitExceeded."""
    return _TIMEOUT.format(timeout_s)


def say_timeout(ending: Ending | None, timeout_s: float) -> Ending | None:
    """An exception that was raised from another thread has no message of its own."""
    if ending is None or ending.error is None or ending.kind != EndKind.TIMED_OUT or ending.error.message:
        return ending
    return ending._replace(error=ending.error._replace(message=timeout_message(timeout_s)))

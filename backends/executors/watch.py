"""Looks at a pool's children: completions that nobody told of, jobs that take long, jobs that take too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.backends.executors.line import SUSPECT_S
from callboard.backends.executors.processloop import SOFT_SIGNAL
from callboard.backends.executors.shared import FIRST_SLOT, OVERRUN
from callboard.backends.executors.wire import ToChild, frame
from callboard.core.overrun import Run, overruns
from callboard.core.prefetch import AHEAD_MAX_S
from callboard.core.runs import EndKind, RunEnd

if TYPE_CHECKING:
    from callboard.backends.executors.link import ChildLink, Entry
    from callboard.backends.executors.pool import ChildPool
    from callboard.core.records import Token

_SOON_S: Final = 0.005
_SHORT_S: Final = 1.0
_YOUNG_S: Final = 0.002
"""A child tells by itself of a job that took longer than this (childbase.WAKE_NS)."""


class Watch:
    """The pool's eyes. With the pool's lock held; `look` takes it itself."""

    def __init__(self, pool: ChildPool) -> None:
        """Part of the pool."""
        self._pool = pool

    def given(self, link: ChildLink, timeout_s: float) -> None:
        """A child was given jobs, the shortest limit being timeout_s; from any thread.

        A lone job tells of its own end, so the pump's thread is not woken for it; the tick sees to its time limit.
        """
        if link.held > 1 or timeout_s < _SHORT_S:
            self.soon(link)

    def tick(self) -> None:
        """See to children that nobody looks at."""
        with self._pool.lock:
            busy = (link for link in self._pool.nursery.links if link.held)
            links = [link for link in busy if not link.look_soon and link.limit is None]
        for link in links:
            self.look(link)

    def soon(self, link: ChildLink) -> None:
        """Look within 5 ms, as this child has something to do; from any thread."""
        if link.held and not link.look_soon:
            link.look_soon = True
            if self._pool.host.pump.here:
                self._start(link)
            else:
                self._pool.host.pump.call(lambda: self._start(link))

    def _start(self, link: ChildLink) -> None:
        self._pool.host.pump.later(self._pool.host.clock.boot_s() + _SOON_S, lambda: self._look_soon(link))

    def _look_soon(self, link: ChildLink) -> None:
        link.look_soon = False
        self.look(link)

    def look(self, link: ChildLink) -> None:
        """Collect, and see to what runs too long."""
        pool = self._pool
        with pool.lock:
            if link.dead or not link.pid:
                return
            pool.jobs.collect(link)
            if not link.held:
                self.rest(link)
            now_s = pool.host.clock.boot_s()
            runs = link.runs()
            self._stalled(link, runs, now_s)
            pool.place()
            decision = overruns(
                (Run(entry.number, start_s, entry.timeout_s) for entry, start_s in runs), link.warned, now_s,
                pool.host.options.kill_grace_s,
            )
            for index in decision.soft:
                self._warn(link, index, now_s)
            if decision.hard:
                pool.nursery.give_up(link, decision.hard, now_s)
            young = any(now_s - start_s < _YOUNG_S for _, start_s in runs)
            if young or (link.held > len(runs) and not link.stalled):
                self.soon(link)
            if decision.next_s is not None:
                self._at(link, decision.next_s)
            pool.nursery.checked(link)
        pool.deliver()

    def rest(self, link: ChildLink) -> None:
        """It has nothing to do, so its next job's time limit is not known yet."""
        if link.limit is not None:
            link.limit.cancel()
            link.limit = None

    def _at(self, link: ChildLink, due_s: float) -> None:
        """Look at this instant too. An earlier look that is planned already will plan the next one."""
        if link.limit is not None and link.limit.call is not None:
            if link.limit.due_s <= due_s:
                return
            link.limit.cancel()
        link.limit = self._pool.host.pump.later(due_s, lambda: self._look_late(link))

    def _look_late(self, link: ChildLink) -> None:
        link.limit = None
        self.look(link)

    def _stalled(self, link: ChildLink, runs: list[tuple[Entry, float]], now_s: float) -> None:
        """Every slot is busy with a job that takes longer than was expected: what waits behind goes elsewhere."""
        if link.stalled or len(runs) < link.slots or link.held == len(runs):
            return
        if all(now_s - start_s > max(AHEAD_MAX_S, 2 * min(entry.expected_s, 1.0)) for entry, start_s in runs):
            link.stalled = True
            self._pool.jobs.accept_again(link.take_back())
            link.stalled = True  # what is taken back counts as a release

    def _warn(self, link: ChildLink, index: int, now_s: float) -> None:
        link.warned[index] = now_s
        if self._pool.host.kind == "process":
            link.memory.words[FIRST_SLOT + OVERRUN] = index
            self._pool.host.signal(link, SOFT_SIGNAL)
        else:
            link.write(frame(ToChild.LIMIT, index))

    def suspect(self, link: ChildLink, token: Token) -> None:
        """A doubted job starts: when it has run for a while, the next one may; from any thread."""
        host = self._pool.host

        def wait() -> None:
            host.pump.later(host.clock.boot_s() + SUSPECT_S, lambda: self._trust(link, token))

        host.pump.call(wait)

    def _trust(self, link: ChildLink, token: Token) -> None:
        with self._pool.lock:
            if link.kept.suspect != token or link.dead:
                return  # it has ended
            if any(entry.job is not None and entry.job.token == token for entry, _ in link.runs()):
                link.kept.trust(token)
                self._pool.place()
            else:
                self.suspect(link, token)  # a slow machine: it has not even begun

    def cancel(self, token: Token) -> bool:
        """Stop a job that a child has; whether one has it."""
        pool = self._pool
        for link in pool.nursery.links:
            if token in link.kept:
                link.unkeep(token)
                pool.jobs.others.append(RunEnd(token, EndKind.CANCELLED))
                pool.host.pump.call(pool.nursery.tend)
                return True
            for entry in link.entries():
                if entry.job is None or entry.job.token != token:
                    continue
                taken = link.take_back()
                if entry.job in taken:
                    taken.remove(entry.job)
                    pool.jobs.others.append(RunEnd(token, EndKind.CANCELLED))
                else:
                    self._cancel_running(link, entry)
                pool.jobs.accept_again(taken)
                pool.place()
                return True
        return False

    def _cancel_running(self, link: ChildLink, entry: Entry) -> None:
        """It runs, or (where jobs can't be taken back) waits."""
        link.cancelled.add(entry.number)
        if not any(run.number == entry.number for run, _ in link.runs()):
            return
        pool = self._pool
        if pool.host.kind == "process":
            pool.nursery.kill(link, "cancel")
        elif entry.number not in link.warned:
            now_s = pool.host.clock.boot_s()
            self._warn(link, entry.number, now_s)
            pool.host.pump.call(lambda: self.look(link))

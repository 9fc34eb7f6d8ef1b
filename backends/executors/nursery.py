"""The children of one pool: as many as its slots need; replaced when they die, grow old, or have to be given up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from callboard.backends.executors.childbase import ChildSettings
from callboard.backends.executors.options import MIB
from callboard.backends.executors.pooljobs import how_it_ended
from callboard.backends.executors.wire import ToChild, frame
from callboard.core.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.backends.executors.link import ChildLink
    from callboard.backends.executors.pool import ChildPool

_END_GRACE_S: Final = 5.0
"""A child that was told to end, or whose socket closed, is killed after this."""
_CRASH_BASE_S: Final = 0.05
_CRASH_MAX_S: Final = 5.0
_CRASHES_UNABLE: Final = 3
"""Children in a row that died before they ran anything: from then on the pool asks for no work."""
_GIVEN_UP_MAX: Final = 4
"""Children at once that wait for their other jobs to end before they are killed."""
_RSS_EVERY_S: Final = 1.0
_PAGE_BYTES: Final = 4096


class Nursery:
    """With the pool's lock held, and (but for `wanted` and `able`) in the pump's thread.

    Attributes:
        links: all children that have not been dealt with after their death.
        slots: jobs side by side.
        stopping: no child is made any more.
    """

    def __init__(self, pool: ChildPool, slots: int) -> None:
        """Part of the pool."""
        self._pool = pool
        self._single = pool.host.kind != "process"
        self.links: list[ChildLink] = []
        self.slots = slots
        self.stopping = False
        self._crashes = 0
        self._fork_after_s = 0.0

    @property
    def wanted(self) -> int:
        """Children that the slots need."""
        return 0 if self.stopping else min(self.slots, 1) if self._single else self.slots

    @property
    def able(self) -> bool:
        """Whether jobs can be started."""
        if self.stopping or not self._pool.host.up:
            return False
        return self._crashes < _CRASHES_UNABLE or any(link.takes for link in self.links)

    def tend(self) -> None:
        """Make, drain and end children, so that there are as many as wanted."""
        pool = self._pool
        with pool.lock:
            if not pool.host.up:
                return
            self._resize()
            active = [link for link in self.links if _active(link)]
            wanted = self.wanted
            draining = [link for link in self.links if link.draining and not link.recycle]
            for link in draining[: max(wanted - len(active), 0)]:
                if not (link.ending or link.given_up or link.killed_for):
                    link.draining = False
                    active.append(link)
            for link in sorted(active, key=lambda link: (link.ready, link.held))[: max(len(active) - wanted, 0)]:
                link.draining = True
                pool.jobs.accept_again(link.take_back())
            for link in list(self.links):
                self._end_if_empty(link)
            busy = sum(1 for link in self.links if link.killed_for and not self._single)
            self._make(wanted - sum(1 for link in self.links if _active(link)) - busy)
            pool.place()
            pool.lock.notify_all()

    def _resize(self) -> None:
        if not self._single or self.slots == 0:
            return
        for link in self.links:
            if _active(link) and link.slots != self.slots:
                link.resize(self.slots)

    def _make(self, missing: int) -> None:
        now_s = self._pool.host.clock.boot_s()
        old = [link for link in self.links if link.recycle and not link.draining and _active(link)]
        covered = {id(link.standby_for) for link in self.links}
        old = [link for link in old if id(link) not in covered][:1]
        if (missing > 0 or old) and now_s < self._fork_after_s:
            self._pool.host.pump.later(self._fork_after_s, self.tend)
            return
        for _ in range(missing):
            self._fork(None)
        for link in old:
            self._fork(link)

    def _fork(self, standby_for: ChildLink | None) -> None:
        pool = self._pool
        options = pool.host.options
        slots = self.slots if self._single else 1
        link = pool.host.new_link(pool, slots)
        link.standby_for = standby_for
        link.set_lease(pool.lease_ns)
        link.reader = lambda: pool.heard(link)
        link.writer = lambda: self._flush(link)
        self.links.append(link)

        def tell(stream: str, lines: list[str], dropped: int) -> None:
            for line in lines:
                pool.note("job.output", link, stream=stream, line=line)
            if dropped:
                pool.note("job.output_dropped", link, lines=dropped)
            pool.host.pump.call(pool.deliver)

        link.read_output(pool.host.clock, options.output_lines_per_s, options.output_line_max, tell)
        settings = ChildSettings(pool.host.kind, slots, options.memory_max_bytes, options.output_lines_per_s,
                                 options.output_line_max)
        pool.host.fork(link, settings)

    def _flush(self, link: ChildLink) -> None:
        with self._pool.lock:
            if not link.dead:
                link.flush()

    # What the host tells ----------------------------------------------------------------------------------------------

    def forked(self, link: ChildLink) -> None:
        """It has a pid now."""
        pool = self._pool
        with pool.lock:
            pool.host.pump.watch(link.sock.fileno(), link.reader)
            if link.killed_for:
                pool.host.kill(link)

    def ready(self, link: ChildLink) -> None:
        """It said that it takes jobs."""
        link.ready = True
        self._pool.note("child.started", link)
        if link.standby_for is not None:
            link.standby_for.draining = True
            if self._single:
                link.standby_for = None
        self._pool.host.pump.call(self.tend)

    def exited(self, link: ChildLink, status: int | None) -> None:
        """It is dead, and so is all that it started."""
        pool = self._pool
        with pool.lock:
            if link.dead:
                return
            self._last_words(link)
            pool.jobs.died(link, status, pool.host.clock.boot_s())
            link.dead = True
            self.links.remove(link)
            link.close()
            self._tell_end(link, status)
            self._count_crash(link)
            for other in self.links:
                if other.standby_for is link:
                    other.standby_for = None
            self.tend()
        pool.deliver()

    def _tell_end(self, link: ChildLink, status: int | None) -> None:
        if link.killed_for:
            return  # that was told when it was killed
        if not link.ending:
            self._pool.note("child.died", link, status=how_it_ended(status))
        elif link.recycle:
            self._pool.note("child.recycled", link, jobs=link.ended, rss_mb=link.rss_bytes // MIB)
        else:
            self._pool.note("child.ended", link, jobs=link.ended)

    def _last_words(self, link: ChildLink) -> None:
        """What its socket still holds; the other end may be open in nobody any more, so this ends."""
        gone = False
        try:
            while not gone:
                frames, gone = link.read()
                for kind, *rest in frames:
                    self._pool.frame(link, kind, rest)
                gone = gone or not frames
        except CodecError as error:
            self._pool.note("child.killed", link, reason=f"protocol: {error}"[:300])

    def _count_crash(self, link: ChildLink) -> None:
        if link.ended:
            self._crashes = 0
        elif not (link.ending or link.killed_for):
            self._crashes += 1
            wait_s = min(_CRASH_BASE_S * 2 ** min(self._crashes, 10), _CRASH_MAX_S)
            self._fork_after_s = self._pool.host.clock.boot_s() + wait_s

    # Ending children --------------------------------------------------------------------------------------------------

    def kill(self, link: ChildLink, reason: str) -> None:
        """Kill it; its jobs are dealt with once it is dead. From any thread."""
        if link.killed_for or link.dead:
            return
        link.killed_for = reason[:300]
        self._pool.note("child.killed", link, reason=link.killed_for)
        self._pool.jobs.accept_again(link.take_back())
        self._pool.host.pump.call(lambda: self._kill(link))

    def _kill(self, link: ChildLink) -> None:
        if link.pid and not link.dead:
            self._pool.host.kill(link)
        self._pool.deliver()

    def _kill_later(self, link: ChildLink, due_s: float, reason: str) -> None:
        def kill() -> None:
            with self._pool.lock:
                self.kill(link, reason)

        self._pool.host.pump.later(due_s, kill)

    def give_up(self, link: ChildLink, indices: Iterable[int], now_s: float) -> None:
        """Jobs of this child go on though their time is over."""
        link.overran |= set(indices) - link.cancelled
        if not self._single:
            self.kill(link, "overrun")
            return
        if not link.given_up:
            link.given_up = link.draining = True
            self._pool.jobs.accept_again(link.take_back())
            due_s = now_s + self._pool.host.options.replace_grace_s
            self._kill_later(link, due_s, "overrun")
            given_up = [other for other in self.links if other.given_up and not other.killed_for]
            if len(given_up) > _GIVEN_UP_MAX:
                self.kill(given_up[0], "overrun")
            self._pool.host.pump.call(self.tend)
        self.checked(link)

    def gone(self, link: ChildLink) -> None:
        """Its socket has closed: it is ending, or a job closed what is not its own."""
        due_s = self._pool.host.clock.boot_s() + _END_GRACE_S
        self._kill_later(link, due_s, "its socket closed" if not link.ending else "it did not end")

    def checked(self, link: ChildLink) -> None:
        """Something of it ended: is it empty, old, fat?"""
        options = self._pool.host.options
        if link.given_up:
            left = {entry.number for entry in link.entries()}
            if left <= link.overran | link.cancelled and left:
                self.kill(link, "overrun")
        elif not link.recycle and not link.draining:
            old = not self._single and link.ended >= options.recycle_jobs
            if old or self._fat(link):
                link.recycle = True
                self._pool.host.pump.call(self.tend)
        if link.draining:
            self._end_if_empty(link)

    def _end_if_empty(self, link: ChildLink) -> None:
        busy = link.held or link.kept
        if not link.draining or busy or link.ending or link.killed_for or not link.ready:
            return
        link.ending = True
        link.write(frame(ToChild.END))
        self.gone(link)
        for other in self.links:
            if other.standby_for is link:
                other.standby_for = None

    def _fat(self, link: ChildLink) -> bool:
        now_s = self._pool.host.clock.boot_s()
        if now_s - link.rss_at_s < _RSS_EVERY_S:
            return False
        link.rss_at_s = now_s
        try:
            pages = int(Path(f"/proc/{link.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return False  # it has just died
        link.rss_bytes = pages * _PAGE_BYTES
        return link.rss_bytes > self._pool.host.options.rss_max_bytes


def _active(link: ChildLink) -> bool:
    """It counts among the wanted ones."""
    old = link.standby_for
    return not (link.draining or link.ending or link.killed_for or link.dead) and (old is None or old.draining)

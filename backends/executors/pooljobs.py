"""The jobs of one pool: those that wait, those that its children have, and the ends that were not told yet."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final, cast

from callboard.backends.executors.line import Line
from callboard.core.childdeath import fates
from callboard.core.codec import FRAME_MAX_BYTES
from callboard.core.errorrecord import RECORD_MAX_BYTES, error_record
from callboard.core.errors import CodecError
from callboard.core.placement import place
from callboard.core.prefetch import Expectations
from callboard.core.result import RESULT_MAX_BYTES
from callboard.core.runs import EndKind, RunEnd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from callboard.backends.executors.line import Waiting
    from callboard.backends.executors.link import ChildLink, Entry
    from callboard.core.placement import Need
    from callboard.core.records import ErrorRecord, TakenJob, Token

_NS: Final = 1e9


class PoolJobs:
    """All of it is guarded by the pool's lock.

    Attributes:
        holding: nothing starts any more.
        completed, others: ends to be told.
        poised: careful jobs that a slot is kept free for, to be told; but while a suspect starts, no others are.
    """

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s`: of jobs that name none."""
        self.timeout_s = timeout_s
        self.holding = False
        self.completed: list[Token] = []
        self.others: list[RunEnd] = []
        self.poised: list[Token] = []
        self.expectations = Expectations()
        self._line = Line()
        self._withheld: list[Token] = []

    def __len__(self) -> int:
        """Jobs that wait outside of the children."""
        return len(self._line)

    def accept(self, jobs: Sequence[TakenJob]) -> None:
        """Take jobs into the line."""
        if self.holding:
            self._not_started(jobs)
            return
        for job in jobs:
            if len(job.body) > FRAME_MAX_BYTES or len(job.error or b"") > RECORD_MAX_BYTES:
                self._unfit(job)
            else:
                self._line.add(job)

    def place(self, links: Sequence[ChildLink]) -> list[tuple[ChildLink, float]]:
        """Give what waits to children; which of them got something, and the shortest time limit of what each got.

        For a careful job a slot is kept free: it starts when it is admitted.
        """
        if not self._line and not self._withheld:
            return []
        suspect = any(link.kept.suspect for link in links)
        if self._withheld and not suspect:
            kept = {token for link in links for token in link.kept}
            self.poised += [token for token in self._withheld if token in kept]
            self._withheld.clear()
        open_links = [link for link in links if link.takes] if self._line.ready(suspect=suspect) else []
        if not open_links:
            return []
        seen: list[tuple[TakenJob, float, Need]] = []
        batches: dict[int, list[Waiting]] = {}
        line = self._line.look(self.expectations.of, seen, suspect=suspect)
        placed = place(line, [link.load() for link in open_links])
        for position, (job, expected_s, need) in zip(placed, seen, strict=False):
            self._line.went(job)
            if need and job.careful:
                open_links[position].keep((job, expected_s, job.timeout_s or self.timeout_s))
                suspect = suspect or job.doubts > 0
                (self._withheld if suspect and not job.doubts else self.poised).append(job.token)
            else:
                batches.setdefault(position, []).append((job, expected_s, job.timeout_s or self.timeout_s))
        for position, batch in batches.items():
            link = open_links[position]
            link.alone = batch[-1][0].losses > 0
            for job in link.give(batch, self.timeout_s):
                self._unfit(job)
        return [(open_links[position], min(limit_s for _, _, limit_s in batch)) for position, batch in batches.items()]

    def admit(
        self, tokens: Iterable[Token], refused: Iterable[Token], links: Iterable[ChildLink],
    ) -> list[tuple[ChildLink, float]]:
        """Start careful jobs, give the refused ones up; as `place`. Those that no slot is kept for are left alone."""
        keepers = {token: link for link in links for token in link.kept}
        given: list[tuple[ChildLink, float]] = []
        for token in tokens:
            link = keepers.get(token)
            if link is not None:
                given.append((link, link.kept[token][2]))
                for job in link.admit(token, self.timeout_s):
                    self._unfit(job)
        self._not_started(keepers[token].unkeep(token) for token in refused if token in keepers)
        return given

    def collect(self, link: ChildLink) -> None:
        """Note what has completed in a child."""
        self.completed += [job.token for job in link.collect()]

    def learn(self, stats: object) -> None:
        """Take in what a child says of durations. Raises CodecError."""
        if not isinstance(stats, list):
            raise CodecError("statistics are a list")
        for entry in cast("list[object]", stats):
            match entry:
                case [str(name), int(count), int(total_ns)]:
                    self.expectations.add(name, count, total_ns / _NS)
                case _:
                    raise CodecError("statistics are of name, count and ns")

    def ended(self, link: ChildLink, message: list[Any]) -> None:
        """Note an end that a child reported. Raises CodecError."""
        match message:
            case [
                int(index), int(kind), error, bool(permanent), retry_after_s, snooze_s, float(duration_s), result,
            ] if EndKind.COMPLETED <= kind <= EndKind.UNKNOWN_JOB:
                entry = link.entry(index)
                if entry is None:
                    return
                link.ended += 1
                cancelled = index in link.cancelled
                link.forget(entry)
                if entry.job is None:
                    return
                if cancelled:
                    self.others.append(RunEnd(entry.job.token, EndKind.CANCELLED, duration_s=duration_s))
                else:
                    self.others.append(RunEnd(entry.job.token, EndKind(kind), _record(error), permanent,
                                              _seconds(retry_after_s), _seconds(snooze_s), duration_s,
                                              _result(result)))
            case _:
                raise CodecError("not an end")

    def skipped(self, link: ChildLink, message: list[Any]) -> None:
        """Note that a child passed over a job that was to be taken back. Raises CodecError."""
        match message:
            case [int(index)]:
                if index >= link.revoked:
                    raise CodecError("a job was passed over that was not to be taken back")
                entry = link.entry(index)
                if entry is None:
                    return
                cancelled = index in link.cancelled
                link.forget(entry)
                if entry.job is None:
                    return
                if cancelled:
                    self.others.append(RunEnd(entry.job.token, EndKind.CANCELLED))
                else:
                    self.accept_again([entry.job])
            case _:
                raise CodecError("not a number of a job")

    def accept_again(self, jobs: Sequence[TakenJob]) -> None:
        """Put jobs that never started back to the head of the line."""
        if self.holding:
            self._not_started(jobs)
        else:
            self._line.add_first(jobs)

    def died(self, link: ChildLink, status: int | None, now_s: float) -> None:
        """Deal with all that a dead child had."""
        entries = {entry.number: entry for entry in link.entries()}
        starts = {entry.number: start_s for entry, start_s in link.runs()}
        verdict = fates(
            link.states(), overran=link.overran, cancelled=link.cancelled, interrupted=link.killed_for == "stop",
        )
        for index in verdict.completed:
            job = entries[index].job
            if job is not None:
                link.ended += 1
                self.completed.append(job.token)
        waiting: list[TakenJob] = []
        for index in verdict.waiting:
            job = entries[index].job
            if job is not None and index in link.cancelled:
                self.others.append(RunEnd(job.token, EndKind.CANCELLED))
            elif job is not None:
                waiting.append(job)
        waiting += link.take_kept()
        for index, kind in verdict.ended:
            link.ended += 1
            duration_s = max(now_s - starts.get(index, now_s), 0.0)
            self._died_under(entries[index], kind, status, duration_s)
        self.accept_again(waiting)
        for entry in entries.values():
            link.forget(entry)

    def _died_under(self, entry: Entry, kind: EndKind, status: int | None, duration_s: float) -> None:
        if entry.job is None:
            return
        how = how_it_ended(status)
        error = {
            EndKind.TIMED_OUT: error_record(
                "Timeout", f"the job ran longer than its timeout of {entry.timeout_s:g} s and its process was killed"),
            EndKind.CHILD_DIED: error_record("ChildDied", f"the job's process {how}"),
            EndKind.NEIGHBOUR_DIED: error_record("ChildDied", f"the process that it shared with other jobs {how}"),
            EndKind.INTERRUPTED: error_record("Interrupted", "the node stopped before the job was done"),
        }.get(kind)
        self.others.append(RunEnd(entry.job.token, kind, error, duration_s=duration_s))

    def cancel_waiting(self, token: Token) -> bool:
        """Cancel a job in the line; whether it was there."""
        found = self._line.remove(token)
        if found:
            self.others.append(RunEnd(token, EndKind.CANCELLED))
        return found

    def hold(self, links: Iterable[ChildLink]) -> None:
        """Nothing starts from now on; what waits comes back."""
        self.holding = True
        self._not_started(self._line.clear())
        for link in links:
            self._not_started(link.take_back())

    def drop(self) -> int:
        """Forget the line; how many."""
        return len(self._line.clear())

    def _not_started(self, jobs: Iterable[TakenJob]) -> None:
        self.others += [RunEnd(job.token, EndKind.NOT_STARTED) for job in jobs]

    def _unfit(self, job: TakenJob) -> None:
        error = error_record("CodecError", f"job {job.id!r} can't be handed to a child: it is too large or malformed")
        self.others.append(RunEnd(job.token, EndKind.RAISED, error, permanent=True))


def how_it_ended(status: int | None) -> str:
    """The end of a process in words; its status is negative for a signal."""
    if status is None:
        return "ended with the template process"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _record(error: object) -> ErrorRecord | None:
    match error:
        case None:
            return None
        case [str(kind), str(message), str(traceback)]:
            return error_record(kind, message, traceback)
        case _:
            raise CodecError("not an error record")


def _result(value: object) -> bytes | None:
    if value is None or (isinstance(value, bytes) and len(value) <= RESULT_MAX_BYTES):
        return value
    raise CodecError("not a result")


def _seconds(value: object) -> float | None:
    if value is None or isinstance(value, float):
        return value
    raise CodecError("not a number of seconds")

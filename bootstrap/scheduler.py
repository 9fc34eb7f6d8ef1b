"""The Scheduler: cron entries, kept in the store and fired by the cluster's leader."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from callboard.core.cron import next_after, parse
from callboard.core.errors import CodecError, InvalidArgument, InvalidSchedule, UnknownOption
from callboard.core.options import PUSH_OPTIONS, did_you_mean, name_of, seconds
from callboard.core.records import NewJob, ScheduleRow
from callboard.core.registry import decode_body
from callboard.core.schedule import DEFAULT_WINDOW_S, check_policy

if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType

    from callboard.core.job import Job
    from callboard.jobs import BoundJob
    from callboard.queue import Queue

_LOG: Final = logging.getLogger("callboard.scheduler")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_OPTIONS: Final = tuple(option for option in PUSH_OPTIONS if option != "id")
_SPELLED: Final = str.maketrans({" ": "_", "*": "any", ",": "+", "#": "n"})
"""A cron line within the characters of a name; `@daily` and its like need no more."""
_YEAR_9999_MS: Final = 253_370_764_800_000


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """How a Scheduler reads its entries.

    Attributes:
        timezone: an IANA name, for entries that name none.
        log_level: debug, info, warning, error or critical: what it says of itself, to the logger `callboard.scheduler`.
    """

    timezone: str = "UTC"
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A cron entry as it stands in the store.

    Attributes:
        missed: "skip", "once" or "all".
        window_s: how late a tick may still fire, in seconds.
        last_tick: the newest tick that was decided, fired or passed over; before the first, when the entry was written.
        next_tick: the first one after that; None where none comes.
    """

    name: str
    cron: str
    timezone: str
    missed: str
    window_s: float
    job: str
    queue: str
    arguments: dict[str, Any]
    last_tick: datetime
    next_tick: datetime | None


class Scheduler:
    """Writes cron entries into the queue's store; the leader of the cluster that serves the store fires them.

    So an entry fires whether or not this program still runs, at most once a tick however many programs wrote it, and
    not at all while no node runs. An entry stays until it is removed: not adding it any more is not enough.

    Args:
        queue: whose store; its name is the queue of jobs that name none.
        config: time zone and log level.

    Raises:
        InvalidSchedule: Raised when the time zone is unknown.
        UnknownOption: Raised when the log level is unknown.
    """

    def __init__(self, queue: Queue, config: SchedulerConfig | None = None) -> None:
        """Check the settings; nothing is written yet."""
        self.queue = queue
        self.config = config or SchedulerConfig()
        if self.config.log_level not in _LEVELS:
            raise UnknownOption(f"no log level is named {self.config.log_level!r}"
                                f"{did_you_mean(self.config.log_level, _LEVELS)}; use {', '.join(_LEVELS)}")
        parse("* * * * *", self.config.timezone)
        self._lock = threading.Lock()
        self._started = False
        self._warned = False
        self._waiting: dict[str, ScheduleRow] = {}
        self._named_by_us: dict[str, NewJob] = {}

    def add(self, job: Job | BoundJob, cron: str, name: str | None = None, *, timezone: str | None = None,
            missed: str = "skip", window: float | timedelta | None = None, **options: Any) -> str:
        """Add an entry, or replace the one of that name. It is written at once after `start`, else by `start`.

        Args:
            job: a Job instance, or `function_job.bind(...)`; its arguments are those of every tick.
            cron: minute, hour, day of month, month, day of week; or `@daily` and its like (docs/guide/scheduling.md).
            name: made from the job's name and the line unless given: `report@0_9_any_any_any`.
            timezone: an IANA name; the config's unless given.
            missed: which ticks fire late, when no leader was there: "skip" and "all" every one that the window still
                reaches, "once" the newest of them.
            window: how late a tick may fire, in seconds (or timedelta): 60 for "skip", a day for the others.
            options: of the jobs that are pushed, as for `queue.push`, without id.

        Returns:
            The entry's name.

        Raises:
            InvalidSchedule: Raised when the line can't be read or never fires, the time zone or policy is unknown, or
                another job was added with this line and no name.
            UsageError: Raised as by `queue.push` for the job and its options.
            StoreUnavailable: Raised when it is written at once and the store can't be reached.
        """
        read = parse(cron, timezone or self.config.timezone)
        window_s = DEFAULT_WINDOW_S[check_policy(missed)]
        if window is not None:
            window_s = seconds(window, "window", above_zero=True)
        new = self._job(job, options)
        with self._lock:
            entry = name_of(name, "name") if name is not None else self._name_for(new, cron)
            row = ScheduleRow(entry, read.line, read.timezone, missed, window_s, replace(new, id=entry), 0)
            if self._started:
                self._put(row)
            else:
                self._waiting[entry] = row
        return entry

    def remove(self, name: str) -> bool:
        """Remove an entry, by whoever it was added; whether there was one.

        Raises:
            StoreUnavailable: Raised when the store can't be reached.
        """
        with self._lock:
            waited = self._waiting.pop(name, None) is not None
            self._named_by_us.pop(name, None)
            stored = self.queue.store.remove_schedule(name)
        if stored:
            self._say("info", "schedule %s is removed", name)
        return waited or stored

    def list(self) -> tuple[ScheduleEntry, ...]:
        """All entries of the store, by name: other programs' too, and not those that wait for `start`."""
        return tuple(_entry(row) for row in sorted(self.queue.store.schedules(), key=lambda row: row.name))

    def start(self) -> None:
        """Write what was added, and from now on what is added at once. Harmless when repeated.

        It starts no thread: firing is the leader's. When no node serves the store, nothing can fire: that is logged as
        a warning, once; `callboard status` shows whether there is one.

        Raises:
            StoreUnavailable: Raised when the store can't be reached; what was not written is written by the next start.
        """
        with self._lock:
            while self._waiting:
                name = next(iter(self._waiting))
                self._put(self._waiting[name])
                del self._waiting[name]
            self._started = True
            alone = not self._warned and not self.queue.store.sessions()
            self._warned = self._warned or alone
        if alone:
            self._say("warning", "no node serves %r: entries fire from when one is started (callboard node --app ...)",
                      self.queue)

    def stop(self) -> None:
        """Write nothing any more until the next `start`. Entries stay in the store, and go on being fired."""
        with self._lock:
            self._started = False

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def _job(self, job: Job | BoundJob, options: dict[str, Any]) -> NewJob:
        if "id" in options:
            raise UnknownOption("a schedule has no option 'id': each tick's job gets its own; it has "
                                f"{', '.join(_OPTIONS)}")
        return self.queue.prepare(job, options)

    def _name_for(self, new: NewJob, cron: str) -> str:
        """The readable name; refused where it would silently replace the same job with other arguments."""
        line = " ".join(cron.split()).translate(_SPELLED)
        try:
            name = name_of(f"{new.name}{'' if line.startswith('@') else '@'}{line}", "name")
        except InvalidArgument as error:
            raise InvalidSchedule(f"job {new.name!r} at {cron!r} needs a name of its own: give name=...") from error
        before = self._named_by_us.setdefault(name, replace(new, id=""))
        if before != replace(new, id=""):
            raise InvalidSchedule(f"job {new.name!r} is scheduled at {cron!r} already, with other arguments or "
                                  "options: give each a name=...", job=new.name)
        return name

    def _put(self, row: ScheduleRow) -> None:
        self.queue.store.put_schedule(replace(row, last_tick_ms=self.queue.store.store_now_ms()))
        self._say("info", "schedule %s: job %s at %r, %s", row.name, row.job.name, row.cron, row.timezone)

    def _say(self, level: str, text: str, *values: object) -> None:
        if _LEVELS[level] >= _LEVELS[self.config.log_level]:
            _LOG.log(_LEVELS[level], text, *values)


def _entry(row: ScheduleRow) -> ScheduleEntry:
    """A row for a person; another version may have written it, so what can't be read is left out."""
    try:
        next_ms = next_after(parse(row.cron, row.timezone), row.last_tick_ms)
    except InvalidSchedule:
        next_ms = None
    try:
        arguments = decode_body(row.job.body)[0]
    except CodecError:
        arguments = {}
    return ScheduleEntry(
        row.name, row.cron, row.timezone, row.missed, row.window_s, row.job.name, row.job.queue, arguments,
        _instant(row.last_tick_ms), None if next_ms is None else _instant(next_ms),
    )


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(min(max(ms, 0), _YEAR_9999_MS) / 1000, UTC)

"""What a node answers without asking an actor: which jobs its app defines, and its events by the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.control_connection import event_line
from callboard.core.messages import AskEvents, EventPage
from callboard.core.options import did_you_mean
from callboard.core.socketmessages import JOBS_PAGE_MAX, AskJobs, KnownJobs
from callboard.logs import passes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.messages import EventLine, Message
    from callboard.core.runs import JobSpec
    from callboard.logs import EventLog

PAGE_LINES_MAX: Final = 1_000
PAGE_CHARS_MAX: Final = 128 << 10
"""A page ends with the event that passes this; one event has 64 Ki characters at most, so a page stays under 1 MiB."""
INTEREST_S: Final = 10.0
"""How long a node keeps single jobs' events for who asks for them page by page."""


def node_answers(log: EventLog, specs: Callable[[], Sequence[JobSpec]]) -> Callable[[Message], Message | None]:
    """A function that answers AskJobs and AskEvents, and None to anything else."""

    def answer(message: Message) -> Message | None:
        match message:
            case AskJobs():
                return known_jobs(specs(), message)
            case AskEvents():
                return page_of(log, message)
            case _:
                return None

    return answer


def known_jobs(specs: Sequence[JobSpec], asked: AskJobs) -> KnownJobs:
    """The answer to AskJobs."""
    if asked.name:
        found = tuple(spec for spec in specs if spec.name == asked.name)
        return KnownJobs(found, near="" if found else did_you_mean(asked.name, [spec.name for spec in specs]))
    behind = sorted((spec for spec in specs if spec.name > asked.after), key=lambda spec: spec.name)
    return KnownJobs(tuple(behind[:JOBS_PAGE_MAX]), more=len(behind) > JOBS_PAGE_MAX)


def page_of(log: EventLog, asked: AskEvents) -> EventPage:
    """The answer to AskEvents."""
    wanted = asked.wanted
    if wanted.follow:
        log.keep_jobs(INTEREST_S)
    first, kept = log.since(asked.after)
    lost = max(0, first - 1 - asked.after) if asked.after >= 0 else 0
    found = [(number, line) for number, line in enumerate(kept, first) if passes(line, wanted)]
    if asked.after < 0:
        found = found[-wanted.last:] if wanted.last > 0 else []
    lines: list[EventLine] = []
    chars, last = 0, 0
    for number, line in found:
        if len(lines) >= PAGE_LINES_MAX or chars >= PAGE_CHARS_MAX:
            return EventPage(tuple(lines), last, more=True)
        lines.append(event_line(line, lost))
        last, lost = number, 0
        chars += len(lines[-1].line)
    return EventPage(tuple(lines), first + len(kept) - 1)

"""Assertions on what was pushed."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callboard.core.codec import decode, encode
from callboard.core.errors import InvalidArgument, UsageError
from callboard.core.job import Job
from callboard.core.options import did_you_mean
from callboard.core.registry import JobDefinition, fields_of, read_body, registry
from callboard.jobs import BoundJob, FunctionJob
from callboard.testing.queues import store_of
from callboard.testing.report import call_text, listing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.core.records import NewJob
    from callboard.queue import Queue

JobLike = Job | BoundJob | FunctionJob[Any, Any] | type[Job] | str
"""How a test names a job: class, function or registered name; an instance or `function.bind(...)` gives arguments."""


@dataclass(frozen=True, slots=True)
class PushedJob:
    """A job as it was pushed.

    Attributes:
        arguments: as plain data, those that were left to their defaults not among them.
        delay_s: seconds before it may start.
        max_attempts, timeout_s: None where neither the push nor the job's class says.
        expires_s: seconds from the push; None: never.
    """

    id: str
    name: str
    queue: str
    arguments: dict[str, Any]
    headers: dict[str, str]
    delay_s: float
    priority: int
    unique: str | None
    max_attempts: int | None
    timeout_s: float | None
    tags: tuple[str, ...] = ()
    at_most_once: bool = False
    expires_s: float | None = None

    def __str__(self) -> str:
        """One line for a person."""
        parts = [f"{call_text(self.name, self.arguments)} on {self.queue!r}"]
        if self.delay_s:
            parts.append(f"in {self.delay_s:g} s")
        if self.priority:
            parts.append(f"priority {self.priority}")
        if self.unique is not None:
            parts.append(f"unique {self.unique!r}")
        if self.headers:
            parts.append(f"headers {self.headers!r}")
        if self.tags:
            parts.append(f"tags {', '.join(self.tags)}")
        if self.at_most_once:
            parts.append("at most once")
        return ", ".join(parts)


def pushed(queue: Queue, job: JobLike | None = None, /, **args: Any) -> list[PushedJob]:
    """What was pushed to a queue for tests, in order; cron ticks too, and jobs that have run.

    Args:
        queue: of `memory_queue` or `inline`; after `named`, what went to that name alone.
        job: only this job; an instance or `function.bind(...)` also asks for its arguments.
        args: only jobs with these arguments; the others may be anything.

    Raises:
        UnknownJob: Raised when no job is registered under the name.
        InvalidArgument: Raised when the job takes no such argument.
    """
    return _matching(_all(queue), None if job is None else _wanted(job, args))


def assert_pushed(queue: Queue, job: JobLike, /, count: int | None = None, **args: Any) -> list[PushedJob]:
    """Go on if the job was pushed with these arguments; the pushes that match.

    Args:
        queue: of `memory_queue` or `inline`; after `named`, what went to that name alone.
        job: class, function, or registered name; an instance or `function.bind(...)` also asks for its arguments.
        count: exactly so many times; at least once unless given.
        args: arguments that it must have; the others may be anything.

    Raises:
        AssertionError: Raised when it was not; lists what was pushed.
        UnknownJob: Raised when no job is registered under the name.
        InvalidArgument: Raised when the job takes no such argument.
    """
    wanted = _wanted(job, args)
    everything = _all(queue)
    found = _matching(everything, wanted)
    if (count is None and found) or len(found) == count:
        return found
    times = "" if count is None else f" {count} times, but {len(found)} times"
    raise AssertionError(f"{wanted} was not pushed{times}; {_what_was(everything, found)}")


def assert_not_pushed(queue: Queue, job: JobLike, /, **args: Any) -> None:
    """Go on if the job was not pushed (with these arguments). Raises as assert_pushed."""
    wanted = _wanted(job, args)
    everything = _all(queue)
    found = _matching(everything, wanted)
    if found:
        raise AssertionError(f"{wanted} was pushed {len(found)} times; {_what_was(everything, found)}")


@dataclass(frozen=True, slots=True)
class _Wanted:
    definition: JobDefinition
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return call_text(self.definition.name, self.arguments) if self.arguments else self.definition.name

    def fits(self, job: PushedJob) -> bool:
        if job.name != self.definition.name:
            return False
        given = _with_defaults(self.definition, job.arguments)
        return all(name in given and _equal(given[name], value) for name, value in self.arguments.items())


def _wanted(job: JobLike, args: Mapping[str, Any]) -> _Wanted:
    definition, arguments = _named(job)
    parameters = definition.signature.parameters.values()
    names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    for name in args:
        if name not in names and len(names) == len(parameters):
            raise InvalidArgument(f"job {definition.name!r} takes no argument {name!r}{did_you_mean(name, names)}; it "
                                  f"takes {definition.signature}", job=definition.name)
    return _Wanted(definition, {**arguments, **args})


def _named(job: object) -> tuple[JobDefinition, dict[str, Any]]:
    if isinstance(job, str):
        return registry.get(job), {}
    if isinstance(job, BoundJob):
        return job.definition, job.arguments
    if isinstance(job, FunctionJob):
        function: FunctionJob[Any, Any] = job
        return function.definition, {}
    if isinstance(job, Job):
        return registry.definition_of(job), fields_of(job)
    if isinstance(job, type) and issubclass(job, Job):
        for name in registry.names():
            found = registry.get(name)
            if found.target is job:
                return found, {}
    raise InvalidArgument(f"{job!r} names no job: give a job's class, function, instance or registered name")


def _all(queue: Queue) -> list[PushedJob]:
    only = queue.only
    return [_pushed(job) for job in store_of(queue).pushed if only is None or job.queue in only]


def _pushed(job: NewJob) -> PushedJob:
    arguments, headers, tags = read_body(job.body)
    return PushedJob(job.id, job.name, job.queue, arguments, headers, job.delay_s, job.priority, job.unique,
                     job.max_attempts, job.timeout_s, tags, job.at_most_once, job.expires_s)


def _matching(everything: list[PushedJob], wanted: _Wanted | None) -> list[PushedJob]:
    return everything if wanted is None else [job for job in everything if wanted.fits(job)]


def _with_defaults(definition: JobDefinition, arguments: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for parameter in definition.signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(arguments.get(parameter.name, {}))
        elif parameter.name in arguments:
            given[parameter.name] = arguments[parameter.name]
        elif parameter.default is not inspect.Parameter.empty:
            given[parameter.name] = parameter.default
    return given


def _equal(actual: object, wanted: object) -> bool:
    """Equal as given, or as both are once encoded: a pushed tuple comes back as a list."""
    if actual == wanted:
        return True
    try:
        return bool(actual == decode(encode(wanted)))
    except UsageError:  # no plain data, so no job can have been pushed with it
        return False


def _what_was(everything: list[PushedJob], found: list[PushedJob]) -> str:
    if not everything:
        return "nothing was pushed"
    marked = [f"{job}   <- this" if job in found else str(job) for job in everything]
    return f"what was pushed:\n{listing(marked)}"

"""Pushing a job by its name: checked by its definition, or by what live nodes tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core.errors import InvalidArgument, UnknownOption
from callboard.core.options import JobOptions, Unique, did_you_mean, name_of, parse_options, tags_of
from callboard.core.records import RESULT_TTL_S, NewJob, UniqueUntil
from callboard.core.registry import encode_body
from callboard.ids import new_job_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.core.runs import JobSpec


def job_of_spec(spec: JobSpec, arguments: Mapping[str, Any], given: Mapping[str, Any]) -> NewJob:
    """A checked job for the store, by what a node tells of it; as `queue.new_job` does by a definition.

    Args:
        spec: what the node tells.
        arguments: by name.
        given: the push's options.

    Raises:
        InvalidArgument: Raised when an argument is missing, unknown or no plain data, or an option is out of range.
        UnknownOption: Raised when an option has no such name.
    """
    check_arguments(spec, arguments)
    options = parse_options(given).over(_options_of(spec))
    return build_job(spec.name, arguments, options, given.get("id"), "default", has_failed_hook=spec.has_failed_hook)


def build_job(name: str, arguments: Mapping[str, Any], options: JobOptions, job_id: object, queue: str, *,
              has_failed_hook: bool) -> NewJob:
    """A job for the store, of options that were merged and checked. `queue` where they name none."""
    unique = options.unique
    return NewJob(
        id=new_job_id() if job_id is None else name_of(job_id, "id"),
        name=name,
        queue=options.queue or queue,
        body=encode_body(name, arguments, options.headers, options.tags),
        priority=options.priority or 0,
        delay_s=options.delay_s or 0.0,
        max_attempts=options.max_attempts,
        timeout_s=options.timeout_s,
        backoff=options.backoff,
        unique=None if unique is None else unique.key,
        has_failed_hook=has_failed_hook,
        unique_until=UniqueUntil.DONE if unique is None else unique.holds,
        unique_period_s=None if unique is None else unique.period_s,
        at_most_once=bool(options.at_most_once),
        expires_s=options.expires_s,
        result_ttl_s=RESULT_TTL_S if options.result_ttl_s is None else options.result_ttl_s,
    )


def _options_of(spec: JobSpec) -> JobOptions:
    """What the job's class says. Raises InvalidArgument: a node may tell what it likes."""
    unique = None
    if spec.unique is not None:
        started = spec.unique_until == UniqueUntil.STARTED
        unique = Unique(spec.unique, "started" if started else "done", spec.unique_period_s)
    return JobOptions(
        queue=spec.queue, delay_s=spec.delay_s, max_attempts=spec.max_attempts, timeout_s=spec.timeout_s,
        backoff=spec.backoff, priority=spec.priority, at_most_once=spec.at_most_once or None, expires_s=spec.expires_s,
        result_ttl_s=spec.result_ttl_s, tags=tags_of(spec.tags), unique=unique,
    )


def check_arguments(spec: JobSpec, arguments: Mapping[str, Any]) -> None:
    """See that the arguments fit.

    Raises:
        InvalidArgument: Raised when one is missing.
        UnknownOption: Raised when one has no such name; says "did you mean" where one is near.
    """
    takes = f"; it takes {', '.join(spec.fields) or 'none'}"
    if not spec.open_ended:
        for name in arguments:
            if name not in spec.fields:
                near = did_you_mean(name, spec.fields)
                raise UnknownOption(f"job {spec.name!r} has no argument {name!r}{near}{takes}", job=spec.name)
    missing = [name for name in spec.required if name not in arguments]
    if missing:
        raise InvalidArgument(f"job {spec.name!r} needs {', '.join(missing)}{takes}", job=spec.name)

"""Pushing a job by its name: checked by its definition, or by what live nodes tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core.errors import InvalidArgument, UnknownOption
from callboard.core.options import JobOptions, did_you_mean, name_of, parse_options
from callboard.core.records import NewJob
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
    options = parse_options(given).over(JobOptions(
        queue=spec.queue, delay_s=spec.delay_s, max_attempts=spec.max_attempts, timeout_s=spec.timeout_s,
        backoff=spec.backoff, priority=spec.priority,
    ))
    job_id = given.get("id")
    return NewJob(
        id=new_job_id() if job_id is None else name_of(job_id, "id"),
        name=spec.name,
        queue=options.queue or "default",
        body=encode_body(spec.name, arguments, options.headers),
        priority=options.priority or 0,
        delay_s=options.delay_s or 0.0,
        max_attempts=options.max_attempts,
        timeout_s=options.timeout_s,
        backoff=options.backoff,
        unique=options.unique,
        has_failed_hook=spec.has_failed_hook,
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

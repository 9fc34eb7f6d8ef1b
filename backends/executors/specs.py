"""Job specs from the template: checked, though it is our own process, as an app may register what it likes."""

from __future__ import annotations

from typing import Any, cast

from callboard.core.errors import CodecError
from callboard.core.records import Backoff
from callboard.core.runs import JobSpec


def specs_of(fields: Any) -> tuple[JobSpec, ...]:
    """Specs from the wire. Raises CodecError."""
    if not isinstance(fields, list):
        raise CodecError("not a list of specifications")
    return tuple(spec_of(spec) for spec in cast("list[object]", fields))


def spec_of(fields: Any) -> JobSpec:
    """A spec from the wire. Raises CodecError."""
    match fields:
        case [
            str(name), str(queue), names, required, int() | None as attempts, float() | None as timeout_s,
            backoff, bool(hook), bool(open_ended), str(doc), int(priority), float(delay_s), bool(once),
            float() | None as expires_s, float() | None as result_ttl_s, tags, str() | None as unique,
            int(unique_until), float() | None as unique_period_s,
        ]:
            return JobSpec(name, queue, _names(names), _names(required), attempts, timeout_s, _backoff(backoff), hook,
                           open_ended, doc, priority, delay_s, once, expires_s, result_ttl_s, _names(tags), unique,
                           unique_until, unique_period_s)
        case _:
            raise CodecError("not the specification of a job")


def _names(names: object) -> tuple[str, ...]:
    if isinstance(names, list):
        found = [name for name in cast("list[object]", names) if isinstance(name, str)]
        if len(found) == len(cast("list[object]", names)):
            return tuple(found)
    raise CodecError("names of arguments, and tags, are strings")


def _backoff(fields: object) -> Backoff | None:
    match fields:
        case None:
            return None
        case [float(base_s), float(factor), float(cap_s), float(jitter)]:
            return Backoff(base_s, factor, cap_s, jitter)
        case _:
            raise CodecError("not a backoff")

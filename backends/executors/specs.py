"""Job specs from the template: checked, though it is our own process, as an app may register what it likes."""

from __future__ import annotations

from typing import Any

from callboard.core.errors import CodecError
from callboard.core.records import Backoff
from callboard.core.runs import JobSpec


def spec_of(fields: Any) -> JobSpec:
    """A spec from the wire. Raises CodecError."""
    match fields:
        case [
            str(name), str(queue), list(names), list(required), int() | None as attempts, float() | None as timeout_s,
            list() | None as backoff, bool(hook), bool(open_ended), str(doc), int(priority), float(delay_s),
        ]:
            if not all(isinstance(name, str) for name in (*names, *required)):
                raise CodecError("names of arguments are strings")
            return JobSpec(name, queue, tuple(names), tuple(required), attempts, timeout_s, _backoff(backoff), hook,
                           open_ended, doc, priority, delay_s)
        case _:
            raise CodecError("not the specification of a job")


def _backoff(fields: list[Any] | None) -> Backoff | None:
    match fields:
        case None:
            return None
        case [float(base_s), float(factor), float(cap_s), float(jitter)]:
            return Backoff(base_s, factor, cap_s, jitter)
        case _:
            raise CodecError("not a backoff")

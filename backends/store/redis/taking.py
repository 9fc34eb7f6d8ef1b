"""Rows that a node has taken, as jobs; what can't be read goes to the failed list."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errorrecord import encode_error
from callboard.core.errors import CodecError
from callboard.core.records import ErrorRecord, OutcomeKind

from .part import Part
from .rows import held_of, named, pack_token, taken_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import SessionId, TakenJob, Token

_DAMAGED: Final = encode_error(ErrorRecord("DamagedRow", "its arguments in the store could not be read"))
_LOG: Final = logging.getLogger(__name__)


class TakingPart(Part):
    """Reading what `take` and `assign` return."""

    def _read_taken(self, session: SessionId, found: Sequence[Any]) -> tuple[TakenJob, ...]:
        jobs: list[TakenJob] = []
        damaged: list[tuple[bytes, str, Token]] = []
        parts = iter(found)
        for ref, data, job, error in zip(parts, parts, parts, parts, strict=True):
            try:
                jobs.append(taken_job(ref, data, job, error))
            except CodecError:
                job_id, token = held_of(ref, data)
                damaged.append((ref, job_id, token))
        if damaged:
            _LOG.warning("%d jobs of session %d in job store %s can't be read: they go to the failed list",
                         len(damaged), session, self._link.address.shown)
            ends = {str(place): [0, _DAMAGED, b""] for place in range(1, len(damaged) + 1)}
            self._call("finish", [ref for ref, _, _ in damaged], [named(job_id) for _, job_id, _ in damaged],
                       [pack_token(token) for _, _, token in damaged], [int(OutcomeKind.FAILED)] * len(damaged), ends)
        jobs.sort(key=_by_token)
        return tuple(jobs)


def _by_token(job: TakenJob) -> Token:
    return job.token

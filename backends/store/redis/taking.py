"""Rows that a node has taken, as jobs; what can't be read goes to the failed list."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errorrecord import encode_error
from callboard.core.errors import CodecError
from callboard.core.records import ErrorRecord, OutcomeKind

from .part import Part
from .rows import held_of, taken_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import SessionId, TakenJob

_DAMAGED: Final = encode_error(ErrorRecord("DamagedRow", "its arguments in the store could not be read"))
_LOG: Final = logging.getLogger(__name__)


class TakingPart(Part):
    """Reading what `take` and `assign` return."""

    def _read_taken(self, session: SessionId, found: Sequence[Any]) -> tuple[TakenJob, ...]:
        jobs: list[TakenJob] = []
        damaged: list[list[object]] = []
        for ref, data, job, error in found:
            try:
                jobs.append(taken_job(ref, data, job, error))
            except CodecError:
                job_id, token = held_of(ref, data)
                damaged.append([ref, job_id, *token, int(OutcomeKind.FAILED), 0, _DAMAGED, b""])
        if damaged:
            _LOG.warning("%d jobs of session %d in job store %s can't be read: they go to the failed list",
                         len(damaged), session, self._link.address.shown)
            self._call("finish", damaged)
        return tuple(jobs)

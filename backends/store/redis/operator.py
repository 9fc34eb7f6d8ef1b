"""What operators order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.errors import Conflict, InvalidArgument, NotFound
from callboard.core.options import seconds
from callboard.core.rank import AGING_STRICT_S
from callboard.core.records import CancelResult

from .part import Part, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Desired, QueueLimits, Token

_AT_ONCE: Final = 2_000
"""Rows that one script forgets: more go in several, so that none keeps the server for long."""


class OperatorPart(Part):
    """Orders of `callboard.core.ports.OperatorStore` and `LifeStore`."""

    def retry_failed(self, job_id: str, token: Token | None) -> None:
        """See the port."""
        epoch, seq = (-1, 0) if token is None else token
        try:
            self._call("retry", job_id, epoch, seq)
        except Refusal as refusal:
            if refusal.why == "not found":
                raise NotFound(f"no failed job {job_id!r}", job=job_id) from None
            now_epoch, now_seq, holder, unique = refusal.details
            if holder:
                raise Conflict(f"job {holder.decode()} holds the unique key {unique.decode()!r} now; cancel it first, "
                               "or forget this one", job=job_id) from None
            raise Conflict(f"job {job_id} has run again since (its token is ({now_epoch}, {now_seq})); look at it "
                           "again", job=job_id) from None

    def forget_failed(self, job_ids: Sequence[str] | None, queue: str | None = None) -> int:
        """See the port. More than 2,000 go in several acts."""
        if job_ids is not None:
            ids = list(dict.fromkeys(job_ids))
            return sum(self._call("forget", ids[at : at + _AT_ONCE], queue or "", 0, 0)[0]
                       for at in range(0, len(ids), _AT_ONCE))
        went, place, more = 0, 0, True
        while more:
            gone, place, more = self._call("forget", False, queue or "", place, _AT_ONCE)  # noqa: FBT003 - for the script
            went += gone
        return went

    def cancel(self, job_id: str) -> CancelResult:
        """See the port."""
        try:
            (what,) = self._call("cancel", job_id)
        except Refusal:
            raise NotFound(f"no job {job_id!r}", job=job_id) from None
        return CancelResult(what)

    def purge(self, queue: str) -> int:
        """See the port. More than 2,000 go in several acts; what is pushed meanwhile stays."""
        gone, last = self._call("purge", queue, _AT_ONCE, 0)
        went = gone
        while gone == _AT_ONCE:
            gone, last = self._call("purge", queue, _AT_ONCE, last)
            went += gone
        return int(went)

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """See the port."""
        self._call("pause", queue, paused)

    def set_desired(self, desired: Desired) -> None:
        """See the port."""
        self._call("desired", *desired)

    def set_draining(self, node: str, *, draining: bool) -> None:
        """See the port."""
        self._call("drain", node, draining)

    def set_limits(self, queue: str, limits: QueueLimits) -> None:
        """See the port."""
        depth = -1 if limits.max_depth is None else limits.max_depth
        if depth < -1:
            raise InvalidArgument(f"max_depth must be 0 or more, not {limits.max_depth!r}")
        aging_ms = -1
        if limits.aging_s is not None:
            aging_ms = round(min(seconds(limits.aging_s, "aging_s"), AGING_STRICT_S) * 1000)
        self._call("limits", queue, depth, aging_ms)

    def adopt(self, cluster_id: str, backend: str) -> None:
        """See the port."""
        self._call("adopt", cluster_id, backend)

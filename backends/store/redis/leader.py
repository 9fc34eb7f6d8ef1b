"""The leader's acts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errorrecord import EXPIRED, encode_error
from callboard.core.errors import TermRefused
from callboard.core.records import (
    AssignReceipt,
    Epoch,
    ErrorRecord,
    FenceView,
    IsolatedJob,
    Promoted,
    Released,
    SessionId,
    Survey,
)

from .part import Part, Refusal
from .rows import pack_jobs
from .sessions import view
from .taking import TakingPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import NewJob, Plan, TermClaim

ISOLATED_SHOWN: Final = 16
"""Isolated jobs that one survey names."""
_REASON_MAX: Final = 1_000
_DAMAGED: Final = encode_error(ErrorRecord("DamagedRow", "its row in the store could not be read"))
_LOG: Final = logging.getLogger(__name__)


class LeaderPart(TakingPart, Part):
    """`callboard.core.ports.LeaderStore`."""

    def begin_term(self, claim: TermClaim) -> Epoch:
        """See the port."""
        try:
            (number,) = self._call("begin_term", *claim)
        except Refusal as refusal:
            first, second = refusal.details
            if refusal.why == "cluster":
                raise TermRefused(f"the store belongs to cluster {first.decode()} on {second.decode()}, not to "
                                  f"{claim.cluster_id} on {claim.backend}; adopt it there first") from None
            raise TermRefused(f"term {claim.number} of {claim.owner} is not newer than the store's term {first} of "
                              f"{second.decode()}") from None
        return Epoch(int(number), claim.owner)

    def fence(self) -> FenceView:
        """See the port."""
        epoch, owner, cluster, backend, term = self._call("fence")
        if not epoch:
            return FenceView(0, "", "", "", 0)
        return FenceView(epoch, owner.decode(), cluster.decode(), backend.decode(), term)

    def survey(self, epoch: Epoch, ready_limit: int) -> Survey:
        """See the port."""
        sessions, ready, alone = self._call("survey", *self._fence(epoch), ready_limit, ISOLATED_SHOWN)
        shown = sorted(IsolatedJob(int(ref), job_id.decode(), queue.decode()) for ref, job_id, queue in alone)
        return Survey(tuple(map(view, sessions)), {name.decode(): n for name, n in ready},
                      tuple(shown[:ISOLATED_SHOWN]))

    def assign(self, epoch: Epoch, plan: Plan, take_for: SessionId | None = None) -> AssignReceipt:
        """See the port."""
        alone = [[one.session, one.pool, f"{one.job.ref:014d}", one.job.id, one.job.queue] for one in plan.isolated]
        orders = [[one.session, one.pool, one.queue, one.count] for one in plan.assignments]
        assigned, taken, idle, damaged, expired = self._call(
            "assign", *self._fence(epoch), alone, orders, take_for or 0, EXPIRED, _DAMAGED)
        if damaged:
            _LOG.warning("rows %s of job store %s can't be read: they were put on the failed list",
                         [ref.decode("ascii", "replace")[:20] for ref in damaged[:10]], self._link.address.shown)
        del expired
        jobs = self._read_taken(SessionId(take_for or 0), taken)
        return AssignReceipt({SessionId(session): n for session, n in assigned}, jobs, idle=idle)

    def promote_due(self, epoch: Epoch, limit: int) -> Promoted:
        """See the port."""
        moved, expired, next_ms = self._call("promote", *self._fence(epoch), limit, EXPIRED)
        return Promoted(moved, None if next_ms < 0 else next_ms / 1000, expired)

    def end_session(self, epoch: Epoch, session: SessionId, reason: str, counter: int | None = None) -> Released:
        """See the port."""
        number, owner = self._fence(epoch)
        return released(self._call("release", number or -1, owner, session, -1 if counter is None else counter,
                                   reason[:_REASON_MAX]))

    def sweep(self, epoch: Epoch, limit: int) -> int:
        """See the port. Redis's own clock is followed as it is."""
        keep = self._options.retention
        (went,) = self._call(
            "sweep", *self._fence(epoch), limit, keep.finished_max, round(keep.finished_age_s * 1000), keep.failed_max,
            round(keep.failed_age_s * 1000), round(keep.ids_age_s * 1000))
        return int(went)

    def fire_tick(self, epoch: Epoch, schedule: str, last_tick_ms: int, tick_ms: int, jobs: Sequence[NewJob]) -> bool:
        """See the port."""
        (fired,) = self._call("fire_tick", *self._fence(epoch), schedule, last_tick_ms, tick_ms,
                              pack_jobs(jobs), self._options.queue_max_jobs)
        return bool(fired)


def released(answer: Sequence[Any]) -> Released:
    """What release.lua did."""
    handed_back, lost, quarantined, ended, doubted = answer
    return Released(handed_back, lost, tuple(one.decode() for one in quarantined), ended=ended, doubted=doubted)

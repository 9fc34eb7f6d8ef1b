"""A node's acts: its session, taking, finishing, and what it tells of runs under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.errors import Conflict
from callboard.core.records import BeatReply, CancelRequest, Desired, FinishReceipt, SessionId, Token

from .leader import released
from .part import Refusal
from .rows import named, pack_progress, pack_token
from .sessions import pack_info, pack_pools
from .taking import TakingPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Held, NodeInfo, Outcome, PoolReport, Progress, Released, TakenJob

_CLOSED: Final = "it closed its session with the job still running"


class NodePart(TakingPart):
    """`callboard.core.ports.NodeStore`, and start marks and progress of `LifeStore`."""

    def open_session(self, info: NodeInfo, ttl_s: float, pools: Sequence[PoolReport]) -> SessionId:
        """See the port."""
        try:
            (session,) = self._call("open_session", info.node, info.boot_id, pack_info(info), round(ttl_s * 1000),
                                    pack_pools(pools), info.host, info.pid)
        except Refusal as refusal:
            pid, host, ttl_ms = refusal.details
            raise Conflict(f"a node named {info.node} is alive already (pid {pid.decode()} on "
                           f"{host.decode() or 'an unnamed host'}); give this one another name, or wait until the "
                           f"leader has ended that session ({ttl_ms / 1000:g} s after its last sign of life)") from None
        return SessionId(session)

    def beat(self, session: SessionId, pools: Sequence[PoolReport]) -> BeatReply:
        """See the port. It has a connection of its own, which no long act blocks."""
        desired, draining, cancels, waiting = self._call("beat", session, pack_pools(pools), True, link=self._beats)  # noqa: FBT003 - for the script
        return BeatReply(
            tuple(Desired(queue.decode(), node.decode(), slots) for queue, node, slots in desired), draining,
            tuple(CancelRequest(job_id.decode(), Token(epoch, seq)) for job_id, epoch, seq in cancels), waiting)

    def report(self, session: SessionId, pools: Sequence[PoolReport]) -> None:
        """See the port."""
        self._call("beat", session, pack_pools(pools), False)  # noqa: FBT003 - for the script

    def close_session(self, session: SessionId) -> Released:
        """See the port."""
        return released(self._call("release", 0, "", session, -1, _CLOSED))

    def take(
        self, session: SessionId, queues: Sequence[str], holding: Sequence[Held] | None = None
    ) -> tuple[TakenJob, ...]:
        """See the port."""
        known = False if holding is None else [[_ref(one), pack_token(one.token)] for one in holding]
        (found,) = self._call("take", session, list(queues), known)
        return self._read_taken(session, found)

    def finish(self, session: SessionId, outcomes: Sequence[Outcome]) -> FinishReceipt:
        """See the port."""
        del session  # the token says enough: it was issued to one session
        if not outcomes:
            return FinishReceipt(0, ())
        refs: list[str] = []
        ids: list[bytes] = []
        tokens: list[bytes] = []
        more: dict[str, list[object]] = {}
        for (ref, job_id, token), _, delay_s, error, result in outcomes:
            refs.append(f"{ref:014d}")
            ids.append(named(job_id))
            tokens.append(pack_token(token))
            if delay_s or error is not None or result is not None:
                more[str(len(refs))] = [round(delay_s * 1000), error or b"", result or b""]
        stale, quarantined = self._call("finish", refs, ids, tokens, [one.kind for one in outcomes], more)
        return FinishReceipt(len(outcomes) - len(stale), tuple(outcomes[place - 1].held for place in stale),
                             tuple(one.decode() for one in quarantined))

    def mark_started(self, session: SessionId, jobs: Sequence[Held]) -> tuple[Held, ...]:
        """See the port."""
        if not jobs:
            return ()
        (refused,) = self._call("mark", session, [[_ref(one), one.id, *one.token] for one in jobs])
        return tuple(jobs[place - 1] for place in refused)

    def report_progress(self, session: SessionId, reports: Sequence[Progress]) -> None:
        """See the port."""
        if reports:
            self._call("progress", session, [
                [_ref(one.held), one.held.id, *one.held.token, pack_progress(one.fraction, one.message)]
                for one in reports])


def _ref(held: Held) -> str:
    return f"{held.ref:014d}"

"""What clients may ask of a Dispatcher, carried out on the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.actors.base import WORKER, Parts
from callboard.core.errors import QueueError
from callboard.core.messages import (
    AskStatus,
    CancelJob,
    Done,
    DrainNode,
    Message,
    NodeStatus,
    PurgeQueue,
    Pushed,
    PushJobs,
    Refused,
    Scale,
    SetPaused,
)
from callboard.core.records import CancelResult, Desired

if TYPE_CHECKING:
    from callboard.core.records import SessionId

_CANCEL_TEXT = {
    CancelResult.CANCELLED: "cancelled: it will not start",
    CancelResult.REQUESTED: "it runs: its node has been told to stop it",
    CancelResult.TOO_LATE: "too late: it had ended",
}


class Commands:
    """Durable orders go into the store, where late joiners find them; the store rings the nodes."""

    def __init__(self, parts: Parts) -> None:
        """Keep the parts."""
        self._parts = parts

    def carry_out(self, message: Message, *, leading: bool, session: SessionId | None) -> Message:
        """The answer to one command; an error of ours becomes Refused."""
        try:
            if isinstance(message, AskStatus):
                return self._status(leading=leading, session=session)
            return self._act(message)
        except QueueError as error:
            return Refused(type(error).__name__, error.message)

    def _act(self, message: Message) -> Message:  # noqa: PLR0911 - one return a command reads best
        store = self._parts.store
        match message:
            case PushJobs(jobs):
                return Pushed(store.push(jobs).ids)
            case Scale(queue, slots, node):
                store.set_desired(Desired(queue, node or "*", slots))
                return Done(slots)
            case SetPaused(queue, paused):
                store.set_paused(queue, paused=paused)
                return Done()
            case CancelJob(job_id):
                return Done(text=_CANCEL_TEXT[store.cancel(job_id)])
            case PurgeQueue(queue):
                return Done(store.purge(queue))
            case DrainNode(node, draining):
                store.set_draining(node, draining=draining)
                return Done()
            case _:
                return Refused("UnknownMessage", f"{type(message).__name__} is no command")

    def _status(self, *, leading: bool, session: SessionId | None) -> NodeStatus:
        parts = self._parts
        return NodeStatus(
            node=parts.info.node,
            boot_id=parts.info.boot_id,
            pid=parts.info.pid,
            leading=leading,
            epoch=parts.epoch[0] if leading else 0,
            session=session or 0,
            actors=dict(parts.restarts),
            pools=tuple(parts.pools[name].report for name in parts.directory.names(WORKER) if name in parts.pools),
            running=tuple(job for name in sorted(parts.pools) for job in parts.pools[name].running())[:1000],
            version=parts.info.version,
        )

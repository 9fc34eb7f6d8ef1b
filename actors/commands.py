"""What clients may ask of a Dispatcher, carried out on the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.actors.base import CLUSTER, WORKER, Parts
from callboard.core.commandcheck import ORDERS, check_command
from callboard.core.due import DUE_TOPIC, due_soon
from callboard.core.errors import InvalidArgument, QueueError
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
    SendNudge,
    SetPaused,
)
from callboard.core.records import CancelResult, Desired

if TYPE_CHECKING:
    from callboard.core.ports import JobStore
    from callboard.core.records import SessionId

RUNNING_MAX = 1_000
"""Running jobs in one NodeStatus."""
_CANCEL_TEXT = {
    CancelResult.CANCELLED: "cancelled: it will not start",
    CancelResult.REQUESTED: "it runs: its node has been told to stop it",
    CancelResult.TOO_LATE: "too late: it had ended",
}


def act_on(store: JobStore, message: Message) -> Message:
    """Carry out a command: orders become rows, where late joiners find them; the store rings the nodes.

    Raises:
        QueueError: Raised when the command is out of its limits, or the store refuses it or can't be reached.
    """
    check_command(message)
    match message:
        case PushJobs(jobs):
            receipt = store.push(jobs)
            if due_soon(job.delay_s for job in jobs):
                store.ring(DUE_TOPIC)
            return Pushed(receipt.ids)
        case Scale(queue, slots, node):
            store.set_desired(Desired(queue, node or "*", slots))
            return Done(slots)
        case SetPaused(queue, paused):
            store.set_paused(queue, paused=paused)
            return Done()
        case CancelJob(job_id):
            result = store.cancel(job_id)
            return Done(int(result), _CANCEL_TEXT[result])
        case PurgeQueue(queue):
            return Done(store.purge(queue))
        case DrainNode(node, draining):
            store.set_draining(node, draining=draining)
            return Done()
        case _:
            raise InvalidArgument(f"{type(message).__name__} is no command")


class Commands:
    """A node's answers to commands."""

    def __init__(self, parts: Parts) -> None:
        """Keep the parts."""
        self._parts = parts

    def carry_out(self, message: Message, *, leading: bool, session: SessionId | None) -> Message:
        """The answer to one command; an error of ours becomes Refused."""
        try:
            if isinstance(message, AskStatus):
                return self._status(leading=leading, session=session)
            answer = act_on(self._parts.store, message)
        except QueueError as error:
            return Refused(type(error).__name__, error.message)
        if isinstance(message, ORDERS):
            self._parts.directory.tell(CLUSTER, SendNudge())
        return answer

    def _status(self, *, leading: bool, session: SessionId | None) -> NodeStatus:
        parts = self._parts
        now_s = parts.clock.boot_s()
        running = [(*job[:4], max(0.0, now_s - job[4])) for name in sorted(parts.pools)
                   for job in parts.pools[name].running()]
        return NodeStatus(
            node=parts.info.node,
            boot_id=parts.info.boot_id,
            pid=parts.info.pid,
            leading=leading,
            epoch=parts.epoch[0] if leading else 0,
            session=session or 0,
            actors=dict(parts.restarts),
            pools=tuple(parts.pools[name].report for name in parts.directory.names(WORKER) if name in parts.pools),
            running=tuple(running[:RUNNING_MAX]),
            version=parts.info.version,
        )

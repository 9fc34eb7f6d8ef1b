"""Whether a command from outside a node may be carried out: names, numbers and bodies within their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from callboard.core.codec import FRAME_MAX_BYTES
from callboard.core.errors import PayloadTooLarge
from callboard.core.messages import AskStatus, CancelJob, DrainNode, PurgeQueue, PushJobs, Scale, SetPaused
from callboard.core.options import ATTEMPTS_MAX, PRIORITY_MAX, backoff_of, name_of, seconds, text, whole

if TYPE_CHECKING:
    from callboard.core.messages import Message
    from callboard.core.records import NewJob

SLOTS_MAX: Final = 1_000
"""Limit of a pool's slots."""
PUSH_MAX: Final = 1_000
"""Limit of the jobs in one PushJobs."""
ORDERS: Final = (Scale, SetPaused, CancelJob, DrainNode)
"""What nodes reconcile: they are to look at once."""
_SILENT: Final = (AskStatus, PushJobs)
_FIELD_NAMES: Final = {"job_id": "job", "node": "of_node"}  # as events have them; `node` is the one that speaks


def check_command(message: Message) -> None:
    """Check what a client sent, or is about to send.

    Raises:
        InvalidArgument: Raised when a part of it is out of its limits.
    """
    match message:
        case PushJobs(jobs):
            whole(len(jobs), "the number of jobs", 1, PUSH_MAX)
            for job in jobs:
                check_job(job)
        case Scale(queue, slots, node):
            name_of(queue, "queue")
            whole(slots, "slots", 0, SLOTS_MAX)
            if node is not None:
                name_of(node, "node")
        case SetPaused(queue=queue) | PurgeQueue(queue=queue):
            name_of(queue, "queue")
        case CancelJob(job_id):
            name_of(job_id, "id")
        case DrainNode(node):
            name_of(node, "node")
        case _:
            pass


def check_job(job: NewJob) -> None:
    """Check a job that another process made. Its body is looked at where it runs, in a child: the node never reads it.

    Raises:
        InvalidArgument: Raised when a part of it is out of its limits.
    """
    name_of(job.id, "id")
    name_of(job.name, "job name")
    name_of(job.queue, "queue")
    whole(job.priority, "priority", -PRIORITY_MAX, PRIORITY_MAX)
    seconds(job.delay_s, "delay")
    if job.max_attempts is not None:
        whole(job.max_attempts, "max_attempts", 1, ATTEMPTS_MAX)
    if job.timeout_s is not None:
        seconds(job.timeout_s, "timeout", above_zero=True)
    if job.backoff is not None:
        backoff_of(job.backoff)
    if job.unique is not None:
        text(job.unique, "unique")
    if len(job.body) > FRAME_MAX_BYTES:
        raise PayloadTooLarge(f"the body of job {job.name!r} is {len(job.body):,} bytes, the limit is "
                              f"{FRAME_MAX_BYTES:,}", job=job.id)


def told_of(message: Message) -> dict[str, Any] | None:
    """What an event says of a command; None of those that only ask, or are many."""
    if isinstance(message, _SILENT):
        return None
    about = {_FIELD_NAMES.get(name, name): value for name, value in vars(message).items()}
    return {"command": type(message).__name__, **about}

"""Why a job waits, in one sentence, from what the store says of it, its queue and its nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.core.errorrecord import decode_error
from callboard.core.errors import CodecError
from callboard.core.lifecycle import Event, isolated
from callboard.core.records import JobState

if TYPE_CHECKING:
    from callboard.core.records import FenceView, JobRecord, QueueCounts, SessionView

SOON_MS: Final = 2_000
"""Within this the cluster moves a job on its own: the leader's slow poll is a second at most."""
_NAMES_MAX: Final = 3
_MESSAGE_MAX: Final = 200
_DECIMALS_BELOW_S: Final = 10


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a job's waiting depends on, read at one time.

    Attributes:
        now_ms: the store's clock.
        counts: of the job's queue.
        sessions: live ones.
    """

    now_ms: int
    fence: FenceView
    counts: QueueCounts
    sessions: tuple[SessionView, ...]


class Reason(NamedTuple):
    """Why a job is where it is.

    Attributes:
        code: a word for scripts; a new version may know more of them.
        sentence: for a person; ends with the remedy where there is one.
    """

    code: str
    sentence: str


def why(job: JobRecord, around: Surroundings) -> Reason:
    """What the job waits for, or that it does not wait."""
    return _BY_STATE[job.state](job, around)


def _ended(job: JobRecord, around: Surroundings) -> Reason:
    when = _ago(job.finished_ms, around)
    told = {
        JobState.COMPLETED: f"it completed {when}, at attempt {job.attempts}",
        JobState.FAILED: f"it failed for good {when}{_because(job)}; `callboard failed retry {job.id}` makes it "
                         "ready again",
        JobState.CANCELLED: f"it was cancelled {when}{_because(job)}",
    }
    return Reason(job.state.name.lower(), f"it does not wait: {told.get(job.state, 'an operator purged or forgot it')}")


def _delayed(job: JobRecord, around: Surroundings) -> Reason:
    left_ms = job.due_ms - around.now_ms
    if left_ms > 0:
        if job.history and job.history[-1].end == Event.SNOOZE.value:
            return Reason("snoozed", f"it snoozed, and runs again in {_span(left_ms)}")
        if job.attempts:
            return Reason("retry", f"attempt {job.attempts} failed{_because(job)}; the next one is in {_span(left_ms)}")
        return Reason("delayed", f"it was pushed with a delay, and is due in {_span(left_ms)}")
    if left_ms > -SOON_MS:
        return Reason("due", "it is due just now; the leader moves it to the ready ones within a second")
    return _no_leader(job, around) or Reason(
        "due", f"it has been due for {_span(-left_ms)} and the leader has not moved it yet: many due jobs are before "
               "it, or the leader is stuck; see `callboard status`")


def _ready(job: JobRecord, around: Surroundings) -> Reason:
    for look in (_paused, _unserved, _no_leader, _closed):
        reason = look(job, around)
        if reason is not None:
            return reason
    nodes = _open_nodes(job, around)
    return _isolated(job, nodes) if isolated(job.losses) else _crowded(job, around, nodes)


def _paused(job: JobRecord, around: Surroundings) -> Reason | None:
    if not around.counts.paused:
        return None
    return Reason("paused", f"queue {job.queue} is paused; `callboard resume {job.queue}` lets it go on")


def _unserved(job: JobRecord, around: Surroundings) -> Reason | None:
    if not around.sessions:
        return Reason("no_node", "no node is running; start one: `callboard node --app ...`")
    served = sorted({share.queue for view in around.sessions for pool in view.pools for share in pool.report.queues})
    if job.queue in served:
        return None
    return Reason("queue_not_served", f"no node serves queue {job.queue} (served: {_list(served) or 'none'}); start "
                                      f"one with `--queue {job.queue}`")


def _no_leader(_job: JobRecord, around: Surroundings) -> Reason | None:
    if not around.fence.epoch:
        return Reason("no_leader", "no node has led this store yet, and only a leader assigns; is a node running?")
    if all(view.info.boot_id != around.fence.owner for view in around.sessions):
        return Reason("no_leader", "the node that led last is gone, and no other one leads yet; that takes a lease's "
                                   "time to live, if a node is running")
    return None


def _closed(job: JobRecord, around: Surroundings) -> Reason | None:
    """No node that serves the queue takes anything new."""
    queue = job.queue
    serving = [view for view in around.sessions if _slots(view, queue) is not None]
    nodes = _open_nodes(job, around)
    if not nodes:
        return Reason("draining", f"every node that serves queue {queue} is draining ({_nodes(serving)}); "
                                  f"`callboard drain {serving[0].info.node} --off` gives it jobs again")
    if not any(_slots(view, queue) for view in nodes):
        return Reason("no_slots", f"queue {queue} is scaled to 0 slots on {_nodes(nodes)}; "
                                  f"`callboard scale {queue} N` opens some")
    return None


def _open_nodes(job: JobRecord, around: Surroundings) -> list[SessionView]:
    return [view for view in around.sessions if not view.draining and _slots(view, job.queue) is not None]


def _isolated(job: JobRecord, nodes: list[SessionView]) -> Reason:
    free = [view for view in nodes if not view.held]
    if free:
        return _soon(job)
    held = ", ".join(f"{view.info.node} holds {view.held:,}" for view in nodes[:_NAMES_MAX])
    return Reason("isolated", f"{job.losses} nodes died under it, so it runs alone on a node or not at all, and no "
                              f"node is empty now ({held})")


def _crowded(job: JobRecord, around: Surroundings, nodes: list[SessionView]) -> Reason:
    """All that could run it is taken, or it is next."""
    queue = job.queue
    alone = [view for view in nodes if view.isolating]
    room = [view for view in nodes if not view.isolating and _free(view, queue) > 0]
    if room:
        ahead = around.counts.ready - 1
        if ahead > 0:
            return Reason("queued", f"it is one of {ahead + 1:,} ready jobs of queue {queue}, and nodes have room: "
                                    "they go by priority, then by age")
        return _soon(job)
    if alone and len(alone) == len(nodes):
        return Reason("node_isolating", f"each node that serves queue {queue} runs a job that must run alone "
                                        f"({_nodes(alone)}); it goes on when that is done")
    slots = sum(_slots(view, queue) or 0 for view in nodes)
    return Reason("no_room", f"all {slots:,} slots that serve queue {queue} are taken ({_nodes(nodes)}), and "
                             f"{around.counts.ready:,} jobs of it are ready, this one among them; they go by priority, "
                             f"then by age; `callboard scale {queue} N` adds slots")


def _soon(job: JobRecord) -> Reason:
    return Reason("next", f"nothing is in its way: the leader assigns it within a second; if `callboard why {job.id}` "
                          "still says so then, look at `callboard status`")


def _assigned(job: JobRecord, around: Surroundings) -> Reason:
    since = _ago(job.assigned_ms, around)
    if all(view.info.node != job.node for view in around.sessions):
        return Reason("node_gone", f"it was given to node {job.node}, which is gone: it goes back, uncharged, as soon "
                                   "as the leader ends that session")
    return Reason("assigned", f"it was given to node {job.node} {since}, which has not taken it yet")


def _running(job: JobRecord, around: Surroundings) -> Reason:
    if all(view.info.node != job.node for view in around.sessions):
        return Reason("node_gone", f"node {job.node} had it and is gone: it goes back as soon as the leader ends that "
                                   "session")
    if job.started_ms is None:
        return Reason("taken", f"node {job.node} took it {_ago(job.taken_ms, around)}, and starts it when one of its "
                               "children is free, or has started it just now")
    told = f"; it says {job.progress.message or 'how far it is'}" if job.progress else ""
    if job.progress is not None and job.progress.fraction is not None:
        told += f" ({job.progress.fraction:.0%})"
    return Reason("running", f"it does not wait: it has run on node {job.node} for "
                             f"{_span(around.now_ms - job.started_ms)} (attempt {job.attempts + 1}){told}")


def _slots(view: SessionView, queue: str) -> int | None:
    """Slots of the session's pool that serves the queue; None: no pool does."""
    for pool in view.pools:
        if any(share.queue == queue for share in pool.report.queues):
            return pool.report.slots
    return None


def _free(view: SessionView, queue: str) -> int:
    return sum(pool.report.capacity - pool.held for pool in view.pools
               if any(share.queue == queue for share in pool.report.queues))


def _because(job: JobRecord) -> str:
    if job.error is None:
        return ""
    try:
        error = decode_error(job.error)
    except CodecError:
        return " (its error can't be read)"
    first = error.message.partition("\n")[0]
    return f" with {error.kind}: {first[:_MESSAGE_MAX]}"


def _nodes(views: list[SessionView]) -> str:
    return _list([view.info.node for view in views])


def _list(names: list[str]) -> str:
    more = len(names) - _NAMES_MAX
    return ", ".join(names[:_NAMES_MAX]) + (f" and {more:,} more" if more > 0 else "")


def _ago(then_ms: int | None, around: Surroundings) -> str:
    return "at an unknown time" if then_ms is None else f"{_span(max(0, around.now_ms - then_ms))} ago"


def _span(ms: float) -> str:
    """A duration in one unit, such as `1.5 s` or `3 h`."""
    seconds = ms / 1000
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= _DECIMALS_BELOW_S else f"{seconds:.1f} s"


_BY_STATE: Final = {
    JobState.DELAYED: _delayed,
    JobState.READY: _ready,
    JobState.ASSIGNED: _assigned,
    JobState.RUNNING: _running,
    JobState.COMPLETED: _ended,
    JobState.FAILED: _ended,
    JobState.CANCELLED: _ended,
    JobState.FORGOTTEN: _ended,
}

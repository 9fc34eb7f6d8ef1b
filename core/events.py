"""The catalogue of events: what each actor may log, at which level, and what it means.

`actors` may only emit what stands here; docs/events.md is made from it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class EventDoc(NamedTuple):
    """One event: its level and what it means, with the fields that it has beyond those of every event."""

    level: str
    meaning: str


EVENTS: Final[dict[str, EventDoc]] = {
    # node and supervision
    "node.starting": EventDoc("info", "the node begins: store, cluster, pools, pid"),
    "node.ready": EventDoc("info", "the app is imported and every actor started: jobs (how many are known)"),
    "node.stopped": EventDoc("info", "the node has ended: code, reason"),
    "node.signal": EventDoc("info", "a signal asks the node to stop: signal"),
    "supervisor.started": EventDoc("info", "all actors were started: actors"),
    "supervisor.actor_died": EventDoc("error", "an actor died of an exception: died, error"),
    "supervisor.restarted": EventDoc("warning", "an actor that died was started again: restarted, times"),
    "supervisor.gave_up": EventDoc("critical", "an actor died too often, the node ends: died, restarts, within_s"),
    "supervisor.stopping": EventDoc("info", "a graceful stop begins: reason, grace_s"),
    "supervisor.stop_hurried": EventDoc("warning", "asked to stop a second time: what runs is killed now"),
    "supervisor.stop_late": EventDoc("warning", "a step of the stop took too long, it goes on without: missing"),
    "supervisor.stopped": EventDoc("info", "every pool is drained and the session closed"),
    "actor.unexpected_message": EventDoc("error", "an actor got a message that it has no handler for: message"),
    # cluster and election
    "cluster.connected": EventDoc("info", "the cluster backend is in use: backend, cluster_id"),
    "cluster.register_failed": EventDoc("warning", "the node could not register; tried again at the next beat: error"),
    "cluster.unregister_failed": EventDoc("warning", "the node could not leave; its membership expires: error"),
    "cluster.subscribe_failed": EventDoc("warning", "messages can't be heard; tried again each second: error"),
    "cluster.listening": EventDoc("info", "messages of other nodes and of clients are heard"),
    "cluster.send_failed": EventDoc("warning", "a message to other nodes or clients was not sent: kind (tell, reply), "
                                               "error"),
    "cluster.message_refused": EventDoc("warning", "messages through the cluster backend were refused: reason, times "
                                                   "(since the last such event)"),
    "cluster.command": EventDoc("info", "a command came through the cluster backend: command, sender, and what it is "
                                        "about"),
    "elector.elected": EventDoc("info", "this node leads now: term, ttl_s"),
    "elector.stepped_down": EventDoc("info", "this node leads no longer: term, reason"),
    "elector.backend_failed": EventDoc("warning", "campaigns or renewals fail, for a new reason: error"),
    # sessions
    "heartbeat.session_opened": EventDoc("info", "the node lives in the store: session"),
    "heartbeat.session_ended": EventDoc("error", "the leader ended this node's session; its children are killed, "
                                                 "and a new session begins: session"),
    "heartbeat.session_closed": EventDoc("info", "the node left in good order: session, handed_back, lost"),
    "heartbeat.close_failed": EventDoc("warning", "the session could not be closed; the leader will end it: error"),
    "heartbeat.store_away": EventDoc("error", "the store can't be reached, or is not the one that was "
                                               "opened: tried again, then the node ends: error"),
    "heartbeat.store_back": EventDoc("info", "the store answers again"),
    "heartbeat.name_taken": EventDoc("warning", "a session of this name has not ended; waiting for its end: error"),
    "heartbeat.report_failed": EventDoc("debug", "a pool's new capacity could not be told; the next beat does: error"),
    # dispatcher
    "dispatcher.term_begun": EventDoc("info", "the store gave this leader its epoch: term"),
    "dispatcher.term_ended": EventDoc("info", "assigning stops: term, reason"),
    "dispatcher.assigned": EventDoc("info", "jobs assigned since the last such event: jobs"),
    "dispatcher.worker_away": EventDoc("warning", "a Worker is being restarted; its jobs heal: pool, jobs"),
    "dispatcher.session_ended": EventDoc("warning", "a node's heartbeat stood still; its jobs go to others: session, "
                                                    "of_node, handed_back, lost, quarantined"),
    "dispatcher.session_suspected": EventDoc("info", "a node's heartbeat is late, or it is no member: it gets "
                                                     "nothing new: session, of_node"),
    "dispatcher.session_trusted": EventDoc("info", "a suspected node gave a sign of life: session, of_node"),
    "dispatcher.pruned": EventDoc("info", "finished jobs over the bounds of age and number were removed: jobs"),
    "dispatcher.store_away": EventDoc("error", "the store can't be reached; assigning pauses: error"),
    "dispatcher.store_back": EventDoc("info", "the store answers again"),
    # scheduler
    "scheduler.fired": EventDoc("info", "a cron tick was enqueued: schedule, tick, job"),
    "scheduler.skipped": EventDoc("warning", "ticks were missed and skipped by policy: schedule, ticks"),
    "scheduler.invalid": EventDoc("error", "a schedule in the store can't be read; it never fires: schedule, error"),
    "scheduler.store_away": EventDoc("error", "the store can't be reached; ticks wait: error"),
    # workers
    "worker.scaled": EventDoc("info", "a pool's slots changed: pool, slots, before"),
    "worker.timeout_set": EventDoc("info", "the time limit of jobs that name none changed: pool, timeout_s"),
    "worker.finished": EventDoc("info", "jobs that ended since the last such event, by outcome: pool, completed, "
                                        "retry, failed, snoozed, handed_back, lost, cancelled"),
    "worker.abandoned": EventDoc("warning", "the session is over; what ran was killed and dropped: session, jobs"),
    "worker.gave_up": EventDoc("warning", "rows that no child runs were released: jobs, how"),
    "worker.take_failed": EventDoc("warning", "assigned rows can't be taken, for a new reason; tried again: error"),
    "worker.mark_failed": EventDoc("warning", "start marks can't be stored, for a new reason; sent again, and careful "
                                              "jobs wait: error"),
    "worker.store_away": EventDoc("error", "outcomes can't be stored; they wait and are sent again: error, waiting"),
    "worker.store_back": EventDoc("info", "outcomes are stored again"),
    "worker.cancelling": EventDoc("info", "an operator cancelled a running job; it is being stopped: job"),
    # single jobs; the debug ones are only written when someone follows
    "job.completed": EventDoc("debug", "a job is done: job, token, queue, name, attempt"),
    "job.retrying": EventDoc("debug", "an attempt failed, another follows: job, token, queue, name, attempt, "
                                      "error_kind, error"),
    "job.failing": EventDoc("debug", "a job failed for good, its failed() is to run: job, token, queue, name, attempt, "
                                     "error_kind, error"),
    "job.failed": EventDoc("warning", "a job is on the failed list, its failed() has run: job, token, queue, name, "
                                      "attempt, error_kind, error"),
    "job.snoozed": EventDoc("debug", "a job asked to be run later, uncharged: job, token, queue, name, attempt"),
    "job.handed_back": EventDoc("debug", "a job that never started went back, uncharged: job, token, queue, name"),
    "job.lost": EventDoc("debug", "a job's process vanished with its node or a neighbour: job, token, queue, name"),
    "job.cancelled": EventDoc("debug", "a running job was stopped for an operator: job, token, queue, name"),
    "job.stale_token": EventDoc("warning", "a completion came too late: the job had been given to another, nothing "
                                           "was changed: job, token"),
    "job.quarantined": EventDoc("error", "a job lost three nodes and is on the failed list: job"),
    "job.output": EventDoc("info", "a line that a job printed: pid, stream, line; job, token, queue where certain"),
    "job.output_dropped": EventDoc("warning", "a job printed too fast, lines were dropped: lines"),
    "job.progress": EventDoc("debug", "a job reports how far it is: fraction, message"),
    "job.result_lost": EventDoc("debug", "a job completed, and what it returned is no plain data or too large: error"),
    "job.retry_after_failed": EventDoc("warning", "a retry_after method failed, the queue's backoff holds: error"),
    # children
    "template.started": EventDoc("info", "the template process imported the app: pid"),
    "template.died": EventDoc("error", "the template process ended; it is started again: pid, status"),
    "template.threads": EventDoc("warning", "the app's import left threads running, so children are spawned, which is "
                                            "slower: threads"),
    "child.started": EventDoc("debug", "a child is ready: pid"),
    "child.recycled": EventDoc("debug", "a child ended after enough jobs or memory: pid, jobs, rss_mb"),
    "child.ended": EventDoc("debug", "a child ended as it was asked to: pid, jobs"),
    "child.killed": EventDoc("warning", "a child was killed: pid, reason"),
    "child.died": EventDoc("warning", "a child ended by itself: pid, status"),
    # control
    "control.refused": EventDoc("warning", "connections to the node's socket were refused or ended: reason, times "
                                           "(since the last such event)"),
    "control.command": EventDoc("info", "a command came through the node's socket: command, and what it is about"),
    "control.lines_lost": EventDoc("warning", "only in a stream of events: its reader was too slow for so many: lines"),
    "control.unreadable": EventDoc("error", "only in a stream of events: a node sent a line that is no event"),
    "control.failed": EventDoc("error", "the node's socket hit a bug of ours; that connection ended: error"),
}


def level_of(event: str) -> str:
    """An event's level; an event that is not in the catalogue is an error of ours and says so loudly."""
    doc = EVENTS.get(event)
    return "error" if doc is None else doc.level


def catalogue_page() -> str:
    """docs/events.md."""
    lines = [
        "# Events",
        "",
        "What the actors log: JSON lines, or coloured text on a terminal. Every event has the fields `time`, `level`,",
        "`event`, `actor` and `node`; `epoch` while its node leads; `job`, `token` and `queue` where they apply.",
        "An event at `info` speaks of a batch; `debug` events speak of single jobs and are written only when someone",
        "follows (`callboard events --follow`) or the node's log level is `debug`.",
        "",
        "This page is made from `core/events.py` by `make docs`.",
        "",
        "| event | level | meaning, and further fields |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {doc.level} | {doc.meaning} |" for name, doc in sorted(EVENTS.items())]
    return "\n".join(lines) + "\n"

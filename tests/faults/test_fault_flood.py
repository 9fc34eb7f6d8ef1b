"""G10: five times as many pushes as a node can handle, and then a worker that stands still: memory keeps its bound."""

import json
import os
import signal
import time

import faultjobs
import pytest
from controlkit import rss_kib
from faulthistory import bit, hold
from faultkit import END_S, FULL, READY_S, boot_s, descendants, state_of, tell
from faultstores import SHORT, with_mutants
from kit import eventually

from callboard.actors.mailbox import MAILBOX_MAX

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 if FULL else 120)]

FLOOD_S = 60.0 if FULL else 8.0
RSS_MAX_KIB = 64 << 10
LATE_MAX_S = 0.5
CONTROL_MAX = 20
"""Control messages and hints are let in above the bound: they are few."""
LOOK_S = 0.02


class Watch:
    """Looks at sessions' counters and at a node's memory while the flood lasts."""

    def __init__(self, made, node):
        self.made, self.node = made, node
        self.before = self.most = rss_kib(node.pid)
        self.moved = {}
        self.intervals_s = []

    def look(self):
        """One look."""
        now_s = boot_s()
        for view in self.made.queue.store.sessions():
            at_s, last = self.moved.setdefault(view.session, (now_s, view.counter))
            if view.counter != last:
                self.intervals_s.append(now_s - at_s)
                self.moved[view.session] = now_s, view.counter
        self.most = max(self.most, rss_kib(self.node.pid))

    def until(self, end_s):
        """Look until then."""
        while boot_s() < end_s:
            self.look()
            time.sleep(LOOK_S)  # how fine the figures are, not a wait for something

    def late_s(self):
        """By how much heartbeats came late, at the 99th percentile; one that has not come counts as well."""
        waits = self.intervals_s + [boot_s() - at_s for at_s, _ in self.moved.values()]
        late = sorted(max(0.0, wait_s - self.made.session_ttl_s / 4) for wait_s in waits)
        return late[int(len(late) * 0.99)]


def stop_children(node):
    """SIGSTOP the children of a node's pool; their pids."""
    (template, *_) = descendants(node.pid)
    children = descendants(template)
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: {state_of(pid) for pid in children} == {"T"}, END_S, "the worker's children have stopped")
    return children


def flood(made, kind):
    """The flood; from half time on the leader's children stand still."""
    made.start_all("n1")
    node, epoch = made.leader(), made.queue.store.fence().epoch
    made.start_all("n2")
    ids = made.queue.push_many(faultjobs.noop.bind() for _ in range(500))
    hold(made.settle(READY_S), "G10", "the nodes do not work")
    watch = Watch(made, node)
    on, figures = made.folder / f"flood-{node.label}", made.folder / f"flooded-{node.label}.json"
    on.touch()
    begun_s = boot_s()
    watch.until(begun_s + FLOOD_S / 2)
    children = stop_children(node)
    stopped_s = boot_s()
    watch.until(begun_s + FLOOD_S)
    on.unlink()
    eventually(figures.exists, READY_S, "the flood has ended")
    late_s, resumed_s = watch.late_s(), boot_s()
    states = [state_of(pid) for pid in children]
    for pid in children:
        os.kill(pid, signal.SIGCONT)
    judge(watch, json.loads(figures.read_text()), late_s, kind)
    hold(made.leader() is node and made.queue.store.fence().epoch == epoch, "G10", "leadership moved")
    bit(states == ["T"] * len(children), f"the stopped worker's children became {states}")
    ids.append(made.queue.push(faultjobs.noop.bind()))
    hold(made.settle(60.0), "G10", f"not everything ended: {made.file.states()}")
    history = made.history()
    history.check_finished("G10", ids)
    history.check_once("G10")
    hold(not history.named("dispatcher.session_ended"), "G10", "a session was ended")
    meanwhile = {run.node for run in history.runs if stopped_s < run.start_s < resumed_s}
    bit(len(meanwhile) == 1 and node.label not in meanwhile, f"ran jobs while one worker stood still: {meanwhile}")


def judge(watch, figures, late_s, kind):
    """The figures must be within their bounds."""
    longest, sent, handled = figures["longest"], figures["sent"], figures["handled"]
    grown_kib = watch.most - watch.before
    hold(longest <= MAILBOX_MAX + CONTROL_MAX, "G10", f"{longest:,} messages waited in a mailbox")
    hold(grown_kib <= RSS_MAX_KIB, "G10", f"the node grew by {grown_kib:,} KiB")
    hold(late_s < LATE_MAX_S, "G10", f"heartbeats were late by {late_s:.2f} s")
    bit(figures["refused"] > 0, "the flood never filled the mailbox")
    bit(sent >= 4.5 * handled, f"no flood of five times the capacity: {figures}")
    tell(f"G10 on {kind}: {sent / FLOOD_S:,.0f} pushes/s for {FLOOD_S:g} s, {handled / FLOOD_S:,.0f}/s handled, the "
         f"rest refused; in the second half the node's children stood still: at most {longest:,} messages waited, "
         f"+{grown_kib / 1024:.1f} MiB, heartbeats late by {late_s:.3f} s at p99")


@with_mutants("unbounded_mailbox", kinds=SHORT)  # what is flooded is not the store
def test_a_flood_and_a_worker_that_stands_still_cost_bounded_memory_and_no_leadership(fleet, caught, kind, mutant):
    caught(mutant, lambda: flood(fleet(mutant, "flood_from_within", kind=kind, slots=2), kind))

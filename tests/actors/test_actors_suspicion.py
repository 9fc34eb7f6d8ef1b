"""Membership steers assignment: a node that gave no sign of life gets nothing new, and nobody else waits for it."""

import itertools
import threading

import pytest
from kit import eventually

from callboard.core import suspicion
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import NodeInfo, PoolReport, QueueShare

GHOST = NodeInfo("ghost", "boot-of-ghost")
REPORTS = (PoolReport("default", (QueueShare("default"),), 100, 100),)


class Ghost:
    """A session of a node that died before it could do anything; a member or not, and it may beat."""

    def __init__(self, bench, ttl_s=20.0):
        self.bench = bench
        self.session = bench.store.open_session(GHOST, ttl_s, REPORTS)
        self.over = threading.Event()
        self.beats = threading.Thread(target=self._beat)

    def _beat(self):
        while not self.over.wait(0.05):
            self.bench.store.beat(self.session, REPORTS)

    def held(self):
        return next((view.held for view in self.bench.store.sessions() if view.session == self.session), 0)

    def end(self):
        self.over.set()
        if self.beats.is_alive():
            self.beats.join()
        self.bench.store.close_session(self.session)


@pytest.fixture
def ghost(bench):
    made = []

    def make(**options):
        made.append(Ghost(bench, **options))
        return made[-1]

    yield make
    for one in made:
        one.end()


def gets_jobs(bench, ghost):
    """Push until it holds some: it may be doubted until its next beat."""
    names = (f"for-ghost-{number}-" for number in itertools.count())

    def held():
        bench.push(20, prefix=next(names))
        return ghost.held()

    eventually(held, 10.0, "it has jobs")


def all_go_to_the_living(bench, node):
    node.events.wait("dispatcher.session_suspected")
    bench.push(200)
    bench.wait_completed(200)
    assert not node.events.named("dispatcher.session_ended")


def test_a_node_that_is_no_member_gets_nothing_not_even_in_the_first_round_of_a_term(bench, ghost):
    go = threading.Event()
    bench.handler = lambda _job: go.wait(20.0)
    first = bench.node("n1")
    first.events.wait("elector.elected")
    second = bench.node("n2")
    second.events.wait("heartbeat.session_opened")
    eventually(lambda: len(bench.cluster.nodes()) == 2, 10.0, "both are members")
    dead = ghost()
    first.events.wait("dispatcher.session_suspected")
    bench.push(200)  # more than the living can hold: whoever doubts nobody gives the rest to the dead
    eventually(lambda: sum(count.ready for count in bench.store.counts()) == 200 - 2 * 8, 10.0, "the living are full")
    first.stop(0.0)
    event = second.events.wait("dispatcher.session_suspected")[0]
    assert (event["session"], event["of_node"]) == (dead.session, "ghost")
    assert dead.held() == 0
    go.set()
    bench.wait_completed(200)
    assert dead.held() == 0


def test_a_member_whose_counter_stands_still_gets_nothing_after_half_of_its_ttl(bench, ghost):
    ghost(ttl_s=2.0)
    bench.cluster.register(GHOST, 60.0)
    node = bench.node()
    all_go_to_the_living(bench, node)


def test_a_member_that_beats_gets_its_share(bench, ghost):
    living = ghost()
    living.beats.start()
    bench.cluster.register(GHOST, 60.0)
    bench.node()
    gets_jobs(bench, living)


def test_one_that_beats_but_never_registers_works_on(bench, ghost):
    living = ghost()
    living.beats.start()
    bench.node()
    gets_jobs(bench, living)


def test_a_suspected_node_that_beats_again_is_trusted_again(bench, ghost):
    late = ghost()
    node = bench.node()
    all_go_to_the_living(bench, node)
    late.beats.start()
    node.events.wait("dispatcher.session_trusted")
    gets_jobs(bench, late)


@pytest.mark.parametrize("fault", ["raises", "empty", "hangs"])
def test_a_view_that_cannot_be_had_stops_nothing(bench, ghost, monkeypatch, fault):
    go = threading.Event()

    def nodes():
        if fault == "raises":
            raise ClusterUnavailable("planted")
        if fault == "hangs":
            go.wait(30.0)
        return ()

    monkeypatch.setattr(bench.cluster, "nodes", nodes)
    unregistered = ghost()
    node = bench.node()
    gets_jobs(bench, unregistered)  # for nothing speaks against it
    bench.wait_runs(1)
    go.set()
    assert not node.events.named("dispatcher.session_suspected")


def test_the_leaders_doubts_are_what_keeps_jobs_from_the_dead(bench, ghost, monkeypatch):
    """The mutant of the tests above: nobody is suspected."""
    monkeypatch.setattr(suspicion, "suspects", lambda *_: frozenset())
    dead = ghost()
    bench.node()
    gets_jobs(bench, dead)

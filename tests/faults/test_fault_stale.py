"""G6: a node that stood still past its session's ttl goes on: nothing that it has to say of its old jobs counts."""

from collections import Counter

import faultjobs
import pytest
from faulthistory import COMPLETED, FAILED, Death, bit, hold
from faultkit import FULL, boot_s, tell, within
from faultstores import SHORT, with_mutants
from kit import eventually

ROUNDS = 50 if FULL else 5
SLOTS = 2
IDLE_S = 3.0
"""How long a server lets a transaction of a stopped node lock others out (docs/stores.md)."""
MODES = ("a finish is on its way", "results wait in the node", "the children stand still too")
"""What is there, when the node goes on, to tell of its old jobs; only the first is sure to come out."""

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 if FULL else 120)]


class Round:
    """One node is stopped until its jobs have started on the other one, then it goes on."""

    def __init__(self, fleet, number) -> None:
        self.fleet = fleet
        self.go = f"round{number}"
        leader = fleet.leader()
        self.node = next(node for node in fleet.nodes.values() if (node is leader) == (number % 2 == 0))
        self.mode = MODES[number % len(MODES)]

    def play(self):
        """The whole round; True when something came too late and was refused."""
        fleet, queue = self.fleet, self.fleet.queue
        queue.push_many(faultjobs.noop.bind() for _ in range(150))  # short ones let the nodes hold some ahead again
        hold(fleet.settle(20), "G6", "jobs before a pause never ended")
        decided = {queue.push(faultjobs.decided.bind(self.go, bool(n % 2))): bool(n % 2) for n in range(2 * SLOTS)}
        eventually(lambda: len(self._runs(decided)) == len(decided), 10, "every slot has its job")
        waiting = queue.push_many(faultjobs.noop.bind() for _ in range(40))
        self._stop(decided)
        old = self._until_its_session_is_over()
        mine = [job for job in decided if job in old.running]
        bit(mine, "the stopped node ran nothing")
        again = within(lambda: all(len(self._runs({job})) == 2 for job in mine), 15)
        hold(again, "G2", "the stopped node's jobs did not start elsewhere")
        resumed_s = boot_s()
        before = len(self.node.events("job.stale_token"))
        self.node.resume()
        self._hold_file().unlink(missing_ok=True)
        eventually(lambda: old.session in [event["session"] for event in self.node.events("worker.abandoned")], 10,
                   "the node knows that its session is over")
        self._touch("next")
        hold(fleet.settle(20), "G6", "jobs after a pause never ended")
        self._check({job: decided[job] for job in mine}, old, resumed_s, [*decided, *waiting])
        eventually(lambda: fleet.file.offers(self.node.pid), 10, "the node works again")
        return len(self.node.events("job.stale_token")) > before

    def _runs(self, jobs):
        return [run for run in self.fleet.history().runs if run.job in jobs]

    def _touch(self, which):
        (self.fleet.folder / f"{self.go}-{which}").touch()

    def _hold_file(self):
        return self.fleet.folder / f"hold-{self.node.label}"

    def _stop(self, decided):
        """Not inside a write transaction: that stops a SQLite file's cluster, and is no promise (see the docs)."""
        if self.mode == MODES[0]:
            self._hold_file().touch()
            self._touch("first")
            eventually(lambda: all(run.end_s for run in self._runs(decided)), 10, "the first runs end")
        self.node.stop(tree=self.mode == MODES[2])
        while not self.fleet.file.free(1.0):
            self.node.resume()
            hold(self.fleet.file.free(10.0), "G6", "nobody can write any more")
            self.node.stop(tree=self.mode == MODES[2])

    def _until_its_session_is_over(self):
        """What the node held when it stopped, and all that was assigned to it meanwhile."""
        fleet, held = self.fleet, [self.fleet.file.held_by(self.node)]
        self._touch("first")  # what its children end from now on is for a node that stands still

        def over():
            held.append(fleet.file.held_by(self.node))
            return held[-1].session is None

        wait_s = fleet.lease_ttl_s + fleet.session_ttl_s + 3 + (IDLE_S if fleet.store else 0)
        hold(within(over, wait_s), "G6", "a stopped node's session is not ended")
        assigned = {job: token for death in held for job, token in death.assigned.items()}
        fleet.deaths.append(Death(self.node.label, held[0].session, held[-2].running, assigned,
                                  held[-2].marked))
        return fleet.deaths[-1]

    def _check(self, mine, old, resumed_s, ids):
        history = self.fleet.history()
        history.check_tokens("G6")
        tokens = {*old.running.values(), *old.assigned.values()}
        late = [run for run in history.runs if run.token in tokens and run.start_s >= resumed_s]
        hold(not late, "G6", f"the node started jobs of its old session when it went on: {late}")
        for job, first_succeeds in mine.items():
            row, newer = history.rows[job], FAILED if first_succeeds else COMPLETED
            hold(row.state == newer and row.token not in tokens, "G6", f"an older result stands for {job}: {row}")
            hold(row.state == COMPLETED or b"the newer result" in row.error, "G6", f"{job} has an older error: {row}")
        history.check_finished("G6", ids)
        history.check_one_record("G6")
        history.check_charges("G6")


@with_mutants("matched_by_id", "token_reused", kinds=SHORT)
def test_a_node_that_was_paused_past_its_ttl_does_no_harm(fleet, caught, kind, mutant):
    """Every take and finish also comes a second time, late: the same finish twice is one success."""
    def check():
        nodes = fleet(mutant, "held_finishes", "late_copies", kind=kind, lease_ttl_s=1.0, session_ttl_s=1.5,
                      slots=SLOTS)
        nodes.start_all("n1", "n2")
        refused = sum(Round(nodes, number).play() for number in range(ROUNDS))
        stale = len(nodes.history().named("job.stale_token"))
        copies = Counter("".join(path.read_text() for path in nodes.folder.glob("late-*.txt")).splitlines())
        tell(f"{ROUNDS} pauses past the session's ttl: {stale} late outcomes refused, in {refused} pauses; "
             f"late copies: {dict(copies)}")
        bit(refused > 0, "nothing came too late")
        bit(copies["finish answered"] > 0 and copies["take answered"] > 0, "no late copy was sent")

    caught(mutant, check)

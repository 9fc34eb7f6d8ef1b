"""G11: a job that kills its process, and one that kills its node, end on the failed list; the others all finish."""

import faultjobs
import pytest
from faulthistory import COMPLETED, FAILED, LOSSES_MAX, Violation, bit, hold
from faultkit import FULL, tell, within
from faultstores import SHORT, with_mutants

from callboard.core.errorrecord import decode_error

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300 if FULL else 120)]

OTHERS = 1_000 if FULL else 200
ATTEMPTS_MAX = 3
DOUBTS_MAX = 1
"""Starts that may cost a job nothing though its node died: the store had not heard of them."""
LONG_S = 0.4


class Supervised:
    """Two nodes of two slots each, restarted as soon as they are dead, under their names."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        fleet.start_all("n1", "n2")

    def look(self, poisons):
        """Restart who died; True when every job has ended. Raises Violation when a poison job runs too often."""
        for name, node in list(self.fleet.nodes.items()):
            if not node.alive:
                self.fleet.bury(node)
                self.fleet.start(name, ready=False)
        history = self.fleet.history()
        for job in poisons:
            runs = history.by_job.get(job, [])
            if len(runs) > DOUBTS_MAX + max(LOSSES_MAX, ATTEMPTS_MAX):
                raise Violation(f"G11: a poison job was started {len(runs)} times: {runs}")
        return self.fleet.file.unfinished() == 0


def poison(fleet):
    """Two poison jobs at the head of the queue, amid others that run when they kill, and many more behind."""
    nodes = Supervised(fleet)
    queue = fleet.queue
    queue.store.set_paused("default", paused=True)  # so that they are assigned in this order
    killers = queue.push_many([faultjobs.kills_its_node.bind(LONG_S / 2), faultjobs.kills_its_process.bind(0.05)])
    long = queue.push_many(faultjobs.work.bind(LONG_S) for _ in range(12))
    others = [*long, *queue.push_many(faultjobs.work.bind(0.02) for _ in range(OTHERS - len(long)))]
    queue.store.set_paused("default", paused=False)
    hold(within(lambda: nodes.look(killers), 90), "G11", f"not everything ended: {fleet.file.states()}")
    history = fleet.history()
    history.check_tokens("G6")
    check_others(history, others)
    check_poison(history, *killers)
    check_alone(history, killers[0])
    return history, killers


def check_others(history, others):
    wrong = [history.rows[job] for job in others if history.rows[job].state != COMPLETED]
    hold(not wrong, "G11", f"{len(wrong)} innocent jobs did not finish: {wrong[:3]}")
    history.check_finished("G11", others)
    history.check_ran("G11")


def check_poison(history, kills_node, kills_process):
    row = history.rows[kills_node]
    hold((row.state, row.attempts, row.losses) == (FAILED, 0, LOSSES_MAX), "G11", f"the job that kills its node: {row}")
    hold(decode_error(row.error).kind == "NodeLost", "G11", f"it does not say why: {decode_error(row.error)}")
    row = history.rows[kills_process]
    # a node that died beside it may have cost it losses of its own; the sum of its runs is bounded all the same
    hold(row.state == FAILED and row.attempts <= ATTEMPTS_MAX and row.losses <= LOSSES_MAX, "G11", f"{row}")
    reason = decode_error(row.error)
    died = row.attempts == ATTEMPTS_MAX and reason.kind == "ChildDied" and "SIGKILL" in reason.message
    hold(died or row.losses == LOSSES_MAX, "G11", f"the job that kills its process: {row}, {reason}")


def check_alone(history, job):
    """What two nodes died under runs alone on its node."""
    last = max(history.by_job[job], key=lambda run: run.start_s)
    beside = [run for run in history.runs if run.node == last.node and run.job != job
              and run.start_s <= last.start_s and (run.end_s is None or run.end_s > last.start_s)]
    after = [run for run in history.runs if run.node == last.node and run.start_s > last.start_s]
    hold(not beside and not after, "G11", f"{last} ran beside {[*beside, *after][:3]}")


@with_mutants("losses_not_counted", "no_isolation", kinds=SHORT)
def test_poison_jobs_do_not_take_the_others_with_them(fleet, caught, kind, mutant):
    def check():
        history, killers = poison(fleet(mutant, kind=kind, slots=2, lease_ttl_s=1.0, session_ttl_s=1.5))
        history.check_charges("G11")
        bit(len(history.deaths) == LOSSES_MAX, f"{len(history.deaths)} nodes died")
        again = sum(len(runs) > 1 for job, runs in history.by_job.items() if job not in killers)
        tell(f"G11: {OTHERS} others finished beside two poison jobs; {len(history.deaths)} nodes died, {again} of the "
             f"others ran again, {max(row.losses for row in history.rows.values() if row.id not in killers)} losses at "
             "most")

    caught(mutant, check)


@with_mutants("marked_at_take", kinds=SHORT)
def test_what_was_taken_ahead_of_a_poison_job_costs_nothing_unless_it_had_started(fleet, caught, kind, mutant):
    """No-op jobs are taken ahead by the hundred: all of them lose the node, and who never started is not charged."""
    caught(mutant, lambda: poison_among_noops(fleet(mutant, kind=kind, slots=2, lease_ttl_s=1.0, session_ttl_s=1.5)))


def poison_among_noops(made):
    nodes, queue = Supervised(made), made.queue
    queue.push_many(faultjobs.noop.bind() for _ in range(2_000))  # now the nodes know how short they are
    hold(made.settle(30), "G2", "not everything ended")
    queue.store.set_paused("default", paused=True)
    others = queue.push_many(faultjobs.noop.bind() for _ in range(1_000))
    killer = queue.push(faultjobs.kills_its_node.bind(0.0))
    others += queue.push_many(faultjobs.noop.bind() for _ in range(2_000))
    queue.store.set_paused("default", paused=False)
    hold(within(lambda: nodes.look([killer]), 90), "G11", f"not everything ended: {made.file.states()}")
    history = made.history()
    check_others(history, others)
    history.check_charges("G3")
    row, doubts = history.rows[killer], queue.store.job(killer).doubts
    hold((row.losses, doubts <= DOUBTS_MAX) == (LOSSES_MAX, True), "G11", f"{row} has {doubts} doubts")
    doubted = history.dropped - history.lost
    unstarted = doubted - {run.token for run in history.runs}
    tell(f"G3: a poison job among no-op jobs: {len(history.deaths)} nodes died, {len(history.lost)} losses, all of "
         f"jobs that had started; {len(unstarted)} taken ones that had not were given back uncharged; the poison job "
         f"had {doubts} doubt(s) and {row.losses} losses")
    bit(unstarted, "nothing was taken ahead")

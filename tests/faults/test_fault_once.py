"""At most once: nodes are killed -9 under load, and no job starts twice; what was under way fails for good."""

import faultjobs
import pytest
from faulthistory import COMPLETED, FAILED, bit, hold
from faultkit import FULL, tell
from faultstores import SHORT, with_mutants
from kit import eventually
from test_fault_kills import Killer, Load

from callboard.core.errorrecord import decode_error

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 if FULL else 120)]

LOAD = Load(3_000, 0.02, 3, 2, 20, 3.0) if FULL else Load(900, 0.02, 3, 2, 4, 1.5)
SMALL = Load(500, 0.02, 3, 2, 4, 0.8)


def once_under_kills(fleet, load):
    fleet.start_all(*[f"n{number}" for number in range(load.nodes)])
    ids = fleet.queue.push_many((faultjobs.work.bind(load.seconds) for _ in range(load.jobs)), at_most_once=True)
    killer = Killer(fleet, load)
    eventually(killer.done, load.kills * load.every_s + 10, "every node was killed")
    hold(fleet.settle(load.finish_s), "G2", f"not everything ended: {fleet.file.states()}")
    history = fleet.history()
    history.check_finished("G2", ids)
    history.check_once("at most once")
    history.check_ran("at most once")
    failed = [row for row in history.rows.values() if row.state != COMPLETED]
    for row in failed:
        hold(row.state == FAILED and decode_error(row.error).kind == "NodeLost", "at most once", f"{row}")
        hold((row.losses, row.token in history.lost) == (1, True), "G3", f"no node died under it: {row}")
    started = {run.job for run in history.runs}
    unlucky = [row for row in failed if row.id not in started]
    hold(len(unlucky) <= load.kills, "G3", f"{len(unlucky)} jobs failed that never started: {unlucky[:3]}")
    tell(f"{load.jobs} at_most_once jobs of {load.seconds * 1000:g} ms, {load.kills} nodes killed: {len(history.runs)} "
         f"starts, none twice; {len(failed)} failed with their node, {len(unlucky)} of them between mark and start; "
         f"{len(history.dropped - history.lost)} taken ones that had not started ran elsewhere")
    bit(failed, "no node died under a job")


@with_mutants("careful_marked_late", kinds=SHORT)
def test_no_at_most_once_job_starts_twice_whoever_dies(fleet, caught, kind, mutant):
    caught(mutant, lambda: once_under_kills(fleet(mutant, kind=kind, slots=2), SMALL if mutant else LOAD))

"""G13: SIGTERM under load: resigns first, gives back what never started, and waits for the death of the rest."""

import json
import signal

import faultjobs
import pytest
from faulthistory import bit, hold
from faultkit import FULL, READY_S, boot_s, state_of, tell
from faultstores import on_short_stores
from kit import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(700 if FULL else 180)]

STOPS = 20 if FULL else 5
IN_ORDER = ["elector.stepped_down", "heartbeat.session_closed"]


@on_short_stores
def test_sigterm_under_load_repeats_nothing_and_charges_nothing(fleet, kind):
    made = fleet(kind=kind, slots=2)
    made.start_all("n1", "n2")
    ids = made.queue.push_many(faultjobs.work.bind(0.005) for _ in range(STOPS * 1_000))
    handed_over, gaps = 0, []
    for number in range(STOPS):
        leader = made.leader()
        other = next(node for node in made.nodes.values() if node is not leader)
        asked_s = boot_s()
        leader.popen.send_signal(signal.SIGTERM)
        eventually(lambda pid=other.pid: made.file.leader_pid() == pid, READY_S, "the other leads")
        gaps.append(boot_s() - asked_s)
        hold(leader.popen.wait(15.0) == 0, "G13", f"{leader.label} ended with {leader.popen.returncode}")
        leader.popen.stdin.close()
        order = [line["event"] for line in leader.events() if line["event"] in IN_ORDER]
        hold(order == IN_ORDER, "G13", f"it did not resign first: {order}")
        handed_over += sum(line.get("handed_back", 0) for line in leader.events("worker.finished"))
        del made.nodes[leader.name]
        made.start_all(f"n{number + 3}")
    hold(made.settle(400.0 if FULL else 90.0), "G13", "not everything ended")  # at the speed of a server's disk
    history = made.history()
    history.check_finished("G13", ids)
    history.check_once("G13")
    wrong = [row for row in history.rows.values() if (row.attempts, row.losses) != (1, 0)]
    hold(not wrong, "G13", f"{len(wrong)} jobs are charged for a stop: {wrong[:3]}")
    hold(max(gaps) < 1.0 + made.lease_ttl_s, "G13", f"the next leader came after {max(gaps):.2f} s")
    bit(handed_over > 0, "nothing waited in a node that was stopped")
    tell(f"G13: {STOPS} x SIGTERM under load: {handed_over} jobs handed back, none ran twice; next leader after "
         f"{sorted(gaps)[len(gaps) // 2]:.3f} s (median), {max(gaps):.3f} s at most")


def overstay(made):
    """One job that outlives the stop's deadline; the other node takes it over."""
    made.start_all("n1")
    job = made.queue.push(faultjobs.work.bind(3.0))
    first = eventually(lambda: made.history().runs, READY_S, "the job runs")[0]
    made.start_all("n2")
    node = made.nodes.pop("n1")
    node.popen.stdin.write(json.dumps({"stop": 0.3}) + "\n")
    node.popen.stdin.flush()
    eventually(lambda: len(made.history().by_job[job]) > 1, 15.0, "the other node runs it")
    hold(state_of(first.pid) in ("", "Z"), "G13", "the job runs elsewhere while its first process lives")
    hold(node.popen.wait(15.0) == 0, "G13", f"{node.label} ended with {node.popen.returncode}")
    hold(made.settle(20.0), "G13", "the job never ended")
    row = made.file.rows()[job]
    hold((row.attempts, row.losses) == (1, 1), "G13", f"an interrupted run costs one loss: {row}")


@pytest.mark.parametrize("mutant", ["", "released_before_the_child_is_dead"])
def test_what_overstays_is_dead_before_it_runs_elsewhere(fleet, caught, mutant):
    caught(mutant, lambda: overstay(fleet(mutant, slots=1)))

"""G14: a tick is enqueued at most once, over failovers and doubled messages. G15: clocks that jump move no lease."""

import datetime as dt
import itertools

import faultjobs
import pytest
from faulthistory import COMPLETED, bit, hold
from faultkit import FULL, READY_S, boot_s, tell, within
from kit import eventually

from callboard import Scheduler

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 if FULL else 120)]

FAILOVERS = 10 if FULL else 3
JUMPS_S = 20.0 if FULL else 5.0
MINUTE = dt.timedelta(minutes=1)


def ticks_of(made):
    """The instants of the ticks whose jobs are in the store, in order."""
    stamps = sorted(job.split(":")[2] for job in made.file.rows() if job.startswith("cron:"))
    return [dt.datetime.strptime(stamp[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC) for stamp in stamps]


def ticks_over_failovers(made, failovers):
    """A tick each second (the store's minutes are that long), the leader killed in between."""
    made.start_all("n1", "n2")
    scheduler = Scheduler(made.queue)
    scheduler.start()
    scheduler.add(faultjobs.noop.bind(), "* * * * *", name="tick", missed="all")
    eventually(lambda: len(ticks_of(made)) >= 2, READY_S, "two ticks were fired")
    for number in range(failovers):
        leader = made.leader()
        made.kill(leader)
        del made.nodes[leader.name]
        before = len(ticks_of(made))
        made.start_all(f"n{number + 3}")
        eventually(lambda before=before: len(ticks_of(made)) >= before + 2, READY_S, "ticks go on")
    scheduler.stop()
    ticks = ticks_of(made)
    steps = {later - earlier for earlier, later in itertools.pairwise(ticks)}
    hold(steps == {MINUTE}, "G14", f"ticks are missing or doubled: steps of {sorted(steps)} between {len(ticks)} ticks")
    epochs = {line["epoch"] for process in made.processes for line in process.events("scheduler.fired")}
    bit(len(epochs) > failovers // 2, f"ticks were fired in {len(epochs)} epochs only")
    tell(f"G14: {len(ticks)} ticks over {failovers} failovers, each once")


@pytest.mark.parametrize("mutant", ["", "last_tick_not_compared"])
def test_each_tick_is_enqueued_once(fleet, caught, mutant):
    plants = [mutant, "late_ticks", "minute_a_second"]
    caught(mutant, lambda: ticks_over_failovers(fleet(*plants), 0 if mutant else FAILOVERS))


def jump(made):
    """The wall clock of each node jumps by an hour and back, every two seconds."""
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=25)
    made.start_all("n1", "n2")
    leader, epoch = made.leader(), made.queue.store.fence().epoch
    scheduler = Scheduler(made.queue)
    scheduler.start()
    scheduler.add(faultjobs.noop.bind(), f"{soon.minute} {soon.hour} * * *", name="soon")
    early = made.queue.later(1_500, faultjobs.noop.bind())
    begun_s, jobs = boot_s(), 0
    while boot_s() < begun_s + JUMPS_S:
        jobs += 1
        job = made.queue.push(faultjobs.noop.bind())
        done = within(lambda job=job: made.file.rows()[job].state == COMPLETED, 10.0)
        hold(done, "G15", "the nodes do not work on")
    scheduler.stop()
    hold(made.queue.store.fence().epoch == epoch, "G15", "leadership changed")
    hold(made.leader() is leader, "G15", "another node leads")
    hold(not made.history().named("dispatcher.session_ended"), "G15", "a session was ended")
    hold(made.file.rows()[early].state == 0, "G15", "a delayed job came early")
    hold(not ticks_of(made), "G15", "cron fired early")
    stamps = [line["time"] for process in made.processes for line in process.events() if "time" in line]
    bit(max(stamps)[:13] != min(stamps)[:13], "the wall clock never jumped")
    tell(f"G15: wall clocks jump by an hour and back every 2 s, for {JUMPS_S:g} s: {jobs} jobs one by one, no change "
         "of leader, no session ended, nothing early")


@pytest.mark.parametrize("mutant", ["", "leases_by_wall_clock"])
def test_wall_clock_jumps_move_nothing(fleet, caught, mutant):
    caught(mutant, lambda: jump(fleet(mutant, "wall_jumps")))

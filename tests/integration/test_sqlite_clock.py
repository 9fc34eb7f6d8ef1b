"""Time in a SQLite store: shared by its processes, moved by no wall clock, begun anew after a reboot."""

import pytest
from sqlitekit import SqlStoreOptions, job, lead, opened

from callboard.core.records import JobState
from callboard.core.storeclock import STEADY_S

HOUR_S = 3_600.0


class Clock:
    """One process's clocks."""

    def __init__(self, boot: float = 5_000.0, wall: float = 1_700_000_000.0) -> None:
        self.boot, self.wall = boot, wall

    def boot_s(self) -> float:
        return self.boot

    def wall_s(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.boot += seconds
        self.wall += seconds


@pytest.fixture
def store_on(tmp_path):
    """Opens the file, as a process with these clocks, in this boot."""
    every = []

    def make(clock, boot_id="boot-a"):
        every.append(opened(tmp_path / "jobs.db", SqlStoreOptions(machine_boot_id=boot_id), clock))
        return every[-1]

    yield make
    for store in every:
        store.close()


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_a_process_whose_wall_clock_jumped_agrees_with_the_others(store_on, jump_s):
    clock, jumped = Clock(), Clock()
    one, two = store_on(clock), store_on(jumped)
    one.push([job("a", delay_s=60)])
    jumped.wall += jump_s
    two.push([job("b", delay_s=30)])
    assert two.store_now_ms() == one.store_now_ms()
    epoch = lead(two)
    for both in (clock, jumped):
        both.advance(29)
    assert two.promote_due(epoch, 10).moved == 0
    for both in (clock, jumped):
        both.advance(1)
    assert two.promote_due(epoch, 10).moved == 1
    assert one.job("a").state is JobState.DELAYED
    for both in (clock, jumped):
        both.advance(30)
    assert two.promote_due(epoch, 10).moved == 1


def test_a_step_that_stands_is_followed_by_all(store_on):
    clock, other = Clock(), Clock()
    one, two = store_on(clock), store_on(other)
    one.push([job("a")])
    epoch = lead(one)
    before_ms = two.store_now_ms()
    clock.wall += HOUR_S
    one.sweep(epoch, 10)
    assert two.store_now_ms() == before_ms
    clock.advance(STEADY_S)
    other.advance(STEADY_S)
    one.sweep(epoch, 10)
    assert two.store_now_ms() == before_ms + (HOUR_S + STEADY_S) * 1000


def test_after_a_reboot_time_starts_from_the_wall_clock(store_on):
    """And stays with the boot clock from then on."""
    clock = Clock()
    store_on(clock).push([job("a", delay_s=60), job("b", delay_s=HOUR_S)])
    rebooted = Clock(boot=20.0, wall=clock.wall + 100)
    store = store_on(rebooted, "boot-b")
    assert store.store_now_ms() == rebooted.wall * 1000
    epoch = lead(store)
    rebooted.wall += 2 * HOUR_S
    assert store.promote_due(epoch, 10).moved == 1
    assert store.job("b").state is JobState.DELAYED
    rebooted.boot += HOUR_S
    assert store.promote_due(epoch, 10).moved == 1


def test_a_machine_that_names_no_boot_notices_one_all_the_same(store_on):
    clock = Clock()
    store_on(clock, "").push([job("a", delay_s=60)])
    rebooted = Clock(boot=20.0, wall=clock.wall + 100)
    store = store_on(rebooted, "")
    assert store.promote_due(lead(store), 10).moved == 1

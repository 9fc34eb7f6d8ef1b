"""The whole protocol under a seed: elections, sessions, assignment, verdicts, the memory store, and many faults.

`SIM_SEEDS=1000` runs more seeds, `SIM_SEEDS=17:18` one of them, `SIM_STEPS=5000` longer; a failure prints its story.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from callboard.testing import simulate

STEPS = int(os.environ.get("SIM_STEPS", "2000"))
FIRST, _, END = os.environ.get("SIM_SEEDS", "200").rpartition(":")
SEEDS = range(int(FIRST or 0), int(END))
PART = 10

@pytest.mark.parametrize("start", SEEDS[::PART])
def test_every_promise_holds(start):
    for seed in range(start, min(start + PART, SEEDS.stop)):
        simulate(seed, STEPS)


def test_the_faults_bite():
    """A run in which nothing went wrong shows nothing."""
    happened = Counter(what for seed in range(200, 215) for _, _, what, _ in simulate(seed, STEPS).world.story)
    needed = (
        "CRASH", "is paused", "is frozen", "has stopped", "is forgotten", "end_session", "lost session", "steps down",
        "resigns", "assign: StaleEpoch", "survey: StaleEpoch", "begin_term: TermRefused", "beat: SessionEnded",
        "take: SessionEnded", "open_session: Conflict", "stale", "heals", "may not start",
        "mark_started", "is in doubt", "fire_tick", "retry",
    )
    assert [what for what in needed if not happened[what]] == []


def test_one_seed_is_one_story():
    one, two = (simulate(3, 300).world.story for _ in range(2))
    assert [line[:3] for line in one] == [line[:3] for line in two]

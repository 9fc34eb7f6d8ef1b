"""For tests of your own code: no server, no process, no waiting.

`memory_queue` and `drain` run jobs when the test says so, through the same store and decisions as a node; `inline` runs
them when they are pushed; `FakeClock` moves delays, retries and schedules; `assert_pushed` says what was pushed.
`simulate` runs the whole protocol under a seed, with faults.
"""

from __future__ import annotations

from callboard.testing.assertions import PushedJob, assert_not_pushed, assert_pushed, pushed
from callboard.testing.clock import FakeClock
from callboard.testing.queues import InlineQueue, as_default, drain, inline, memory_queue
from callboard.testing.report import Report, Run
from callboard.testing.simulation import simulate

__all__ = [
    "FakeClock", "InlineQueue", "PushedJob", "Report", "Run", "as_default", "assert_not_pushed", "assert_pushed",
    "drain", "inline", "memory_queue", "pushed", "simulate",
]

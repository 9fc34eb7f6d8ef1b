"""What the state machine of stores draws from."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from storekit import job
from storemodel import QUEUES

from callboard.core.records import OutcomeKind, QueueLimits, UniqueUntil

NODES = ("n1", "n2", "n3")
IDS = st.integers(0, 60).map("j{}".format)
PLAIN = st.builds(
    lambda job_id, queue, priority, delay_s, unique, hook: job(
        job_id, queue, priority=priority, delay_s=delay_s, unique=unique, has_failed_hook=hook),
    IDS, st.sampled_from(QUEUES), st.integers(-1, 1), st.sampled_from([0.0, 0.0, 2.0]),
    st.sampled_from([None, None, "k1", "k2"]), st.booleans())
JOBS = st.builds(
    lambda plain, form, period_s, once, expires_s, ttl_s: replace(
        plain, unique_until=form, unique_period_s=period_s, at_most_once=once, expires_s=expires_s, result_ttl_s=ttl_s),
    PLAIN, st.sampled_from(UniqueUntil), st.sampled_from([1.0, 5.0]), st.sampled_from([False, False, True]),
    st.sampled_from([None, None, 1.5, 4.0]), st.sampled_from([1.5, 1.5, 3_600.0, 0.0]))
DELAYS = st.sampled_from([0.0, 0.0, 1.0])
KINDS = st.sampled_from([*OutcomeKind, *[OutcomeKind.COMPLETED] * 2, *[OutcomeKind.LOST] * 2])
RESULTS = st.sampled_from([b"1", b"2", None])
REPLIES = st.sampled_from([1, 1, 1, 2])
"""How often a call is sent: its reply may be lost."""
LIMITS = st.builds(QueueLimits, st.sampled_from([3, 5, None]), st.sampled_from([0.5, 0.0, None]))
COUNTS = st.sampled_from([3, 3, 1, 4, 0])
RARELY = st.sampled_from([False, False, False, True])

WORK = ["push", "push", *["run"] * 4, "assign", "take", *["mark"] * 3, "progress", *["finish"] * 4, "time", "limit"]
LOSE = ["push", *["run"] * 4, *["mark"] * 3, "finish", "end", "end", "open", "alone", "alone", "time"]
GO_ON = ["push", "run", "run", "mark", "finish", *["time"] * 3, "promote", "promote", "end", "begin_term",
         "late_leader", "beat", "sweep"]
OPERATE = ["push", "push", *["run"] * 3, *["finish"] * 3, "cancel", "cancel", "purge", "pause", "drain", "limit",
           "limit", *["retry_failed"] * 3, "forget"]
"""Acts, the more important ones more than once."""

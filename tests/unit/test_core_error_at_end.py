"""core/errorrecord.py: a job that fails says why, also where its node said nothing."""

from __future__ import annotations

from itertools import product

import pytest

from callboard.core.errorrecord import EXPIRED, decode_error, error_at_end, node_lost
from callboard.core.lifecycle import LOSSES_MAX, ErrorFate, event_of, transition
from callboard.core.records import JobState, OutcomeKind, Step


@pytest.mark.parametrize("kind", [OutcomeKind.LOST, OutcomeKind.SNOOZED])
@pytest.mark.parametrize(("losses", "has_hook", "once"), list(product(range(LOSSES_MAX), [True, False], [True, False])))
def test_whoever_fails_without_an_error_of_its_own_gets_one(kind, losses, has_hook, once):
    event = event_of(kind, Step.HANDLE, losses, has_hook=has_hook, once=once)
    then = transition(JobState.RUNNING, Step.HANDLE, event)
    assert then is not None
    error = error_at_end(event, kind, None)
    assert (error is not None) == (then.error is ErrorFate.SET)
    if error is not None:
        assert decode_error(error).kind == {OutcomeKind.LOST: "NodeLost", OutcomeKind.SNOOZED: "Snooze"}[kind]
    assert error_at_end(event, kind, b"its own") == b"its own"


def test_texts_that_are_too_long_are_cut():
    record = decode_error(node_lost("n" * 255, "x" * 5_000))
    assert record.message.startswith("node nnn")
    assert len(record.message) == 2_000
    assert decode_error(EXPIRED).kind == "Expired"

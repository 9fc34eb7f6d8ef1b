"""Nothing that a job, an error or a name says can steer a terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.backends.clock import SystemClock
from callboard.core.printable import printable
from callboard.logs import EventLog


@given(st.text())
def test_the_result_is_printable_and_printable_text_stays(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(("text", "shown"), [("\x1b[31mred", "\\x1b[31mred"), ("a\nb", "a\\nb"), ("\x9b2J", "\\x9b2J"),
                                             ("grüße 猫", "grüße 猫"), ("\u202ereversed", "\\u202ereversed")])
def test_control_characters_are_shown_escaped(text, shown):
    assert printable(text) == shown


def test_a_nodes_log_on_a_terminal_shows_them_escaped():
    stream = io.StringIO()
    log = EventLog("n1", SystemClock(), style="text", stream=stream)
    log.emit("worker:a", "job.output", line="\x1b]0;owned\x07\x9b31m", pid=1)
    assert "\x1b]" not in stream.getvalue()
    assert "\\x1b]0;owned" in stream.getvalue()

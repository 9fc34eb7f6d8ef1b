"""Plays election/*.txt: inputs, and below each the recorded actions. `CALLBOARD_RECORD=1 pytest ...` records anew.

A line `at <seconds> <event> [words]` is an input, an indented line an action that it must bring, in order. Time is the
boot clock; every draw is 0.5. `won 3 term=7 ttl=5` names the attempt that the reply answers and the term it granted.
"""

import os
import re
from pathlib import Path

import pytest

from callboard.core import election as el
from callboard.core.records import Term

SCRIPTS = sorted((Path(__file__).parent / "election").glob("*.txt"))


def event_of(words, ttl_s):
    name, *args = words
    options = dict(arg.split("=", 1) for arg in args if "=" in arg)
    numbers = [int(arg) for arg in args if arg.isdigit()]
    number, ttl = int(options.get("term", 1)), float(options.get("ttl", ttl_s))
    return {
        "tick": el.Tick,
        "won": lambda: el.CampaignWon(numbers[0], Term(number, "me", ttl, f"h{number}")),
        "lost": lambda: el.CampaignLost(numbers[0]),
        "campaign-failed": lambda: el.CampaignFailed(numbers[0], "timeout"),
        "renewed": lambda: el.RenewOk(numbers[0]),
        "renewal-refused": lambda: el.RenewRefused(numbers[0]),
        "renewal-failed": lambda: el.RenewFailed(numbers[0], "timeout"),
        "resigned": lambda: el.ResignEnded(numbers[0]),
        "hint": el.LeadershipMayHaveChanged,
        "progress": lambda: el.DispatcherProgress(numbers[0]),
        "store-refused": lambda: el.StoreRefusedTerm(number, "an older term"),
        "stop": el.StopRequested,
    }[name]()


def line_of(action):
    words = {
        el.Campaign: "campaign {0.attempt} ttl={0.ttl_s:g}",
        el.Renew: "renew {0.attempt} term={0.term.number}",
        el.Resign: "resign {0.attempt} term={0.term.number}",
        el.Lead: "lead term={0.term.number} until={0.trusted_until_s:.2f}",
        el.ExtendTrust: "extend term={0.term.number} until={0.trusted_until_s:.2f}",
        el.StepDown: "step-down term={0.term.number}: {0.reason}",
        el.WakeAt: "wake {0.at_s:.2f}",
        el.Stopped: "stopped",
    }
    return words[type(action)].format(action)


def play(script):
    """The script's comments and inputs, with the actions that the core gives now."""
    played, state, ttl_s = [], None, 0.0
    for line in script.splitlines():
        if line.startswith("    "):
            continue
        played.append(line)
        if match := re.fullmatch(r"ttl (\S+)", line):
            ttl_s = float(match[1])
            state = el.start("me", ttl_s)
        elif match := re.fullmatch(r"at (\S+) (.+)", line):
            state, actions = el.step(state, event_of(match[2].split(), ttl_s), float(match[1]))
            played.extend(f"    {line_of(action)}" for action in actions)
        else:
            assert not line or line.startswith("#"), f"not a line of a script: {line!r}"
    return "\n".join(played) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_the_core_answers_as_recorded(path):
    recorded = path.read_text()
    now = play(recorded)
    if os.environ.get("CALLBOARD_RECORD"):
        path.write_text(now)
    assert now == recorded


def test_there_are_scripts():
    assert len(SCRIPTS) >= 6

"""What a job returns goes to the node, in every kind of child; what can't be kept fails nobody, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from executor_kit import running

from callboard.core.errors import ResultLost
from callboard.core.records import Step
from callboard.core.result import decode_result, is_lost
from callboard.core.runs import EndKind

APP = str(Path(__file__).with_name("executor_result_app.py"))
PLAIN = {"a": [1, "two"]}


@pytest.fixture(params=["process", "thread", "asyncio"])
def rig(request):
    with running(request.param, app=(APP,), kill_grace_s=0.5, replace_grace_s=0.5) as made:
        yield made


@pytest.mark.parametrize("name", ["returns", "returns_async", "Returns"])
def test_what_a_job_returns_comes_with_its_end(rig, name):
    end = rig.run(name, what="plain")
    assert end.kind is EndKind.COMPLETED
    assert decode_result(end.result) == PLAIN
    assert rig.run(name, what="none").result is None


@pytest.mark.parametrize(("what", "why"), [
    ("object", "Unserialisable"), ("keys", "keys of a dict must be strings"), ("large", "100,00"),
    ("odd", "RuntimeError: no items"),
])
@pytest.mark.parametrize("name", ["returns", "returns_async"])
def test_what_can_not_be_kept_fails_nobody_and_says_why(rig, name, what, why):
    token = rig.start(name, what=what)
    end = rig.end(token)
    assert end.kind is EndKind.COMPLETED
    assert is_lost(end.result)
    with pytest.raises(ResultLost, match=why):
        decode_result(end.result)
    rig.told.wait(lambda told: told.of("job.result_lost"), "the event")
    (note,) = rig.told.of("job.result_lost")
    assert note.token == token
    assert why in note.fields["error"]


def test_nothing_is_kept_where_nobody_wants_it(rig):
    (token,) = rig.submit(rig.job("returns", what="plain")._replace(keeps_result=False))
    end = rig.end(token)
    assert (end.kind, end.result) == (EndKind.COMPLETED, None)


def test_what_a_failed_hook_returns_is_nobodys(rig):
    end = rig.run("Returns", what="plain", step=Step.FAILED_HOOK, error=b"")
    assert (end.kind, end.result) == (EndKind.COMPLETED, None)


def test_a_time_limit_holds_while_a_result_is_encoded(rig):
    assert rig.run("returns", what="slow", timeout_s=0.2).kind is EndKind.TIMED_OUT
    assert decode_result(rig.run("returns", what="plain").result) == PLAIN

"""callboard.testing's assertions: they hold, they fail, and they say what was pushed."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest

import callboard
from callboard import testing
from callboard.core.errors import InvalidArgument, UnknownJob


@callboard.job
def assert_send(to: str, subject: str = "hello", tags: list[str] | None = None) -> None:
    """Never run here."""


@callboard.job
def assert_open_ended(first: int, **others: Any) -> None:
    """Takes further arguments."""


class AssertResize(callboard.Job):
    path: str
    size: int = 100
    queue = "pictures"

    def handle(self) -> None:
        """Never run here."""


@pytest.fixture
def queue() -> callboard.Queue:
    made = testing.memory_queue()
    made.push(assert_send.bind("a@example.org"))
    made.later(60, assert_send.bind("b@example.org", tags=["x"]), priority=3, unique="b", headers={"trace": "t"})
    made.push(AssertResize("cat.png"))
    return made


def test_what_was_pushed_is_found_by_every_kind_of_name(queue: callboard.Queue):
    assert len(testing.assert_pushed(queue, assert_send)) == 2
    assert len(testing.assert_pushed(queue, "assert_send", to="a@example.org")) == 1
    assert len(testing.assert_pushed(queue, AssertResize, count=1)) == 1
    assert len(testing.assert_pushed(queue, AssertResize("cat.png"))) == 1
    assert len(testing.assert_pushed(queue, assert_send.bind("a@example.org"), count=1)) == 1
    testing.assert_pushed(queue, assert_send, count=0, to="nobody@example.org")


def test_the_pushes_that_match_are_returned(queue: callboard.Queue):
    (job,) = testing.assert_pushed(queue, assert_send, to="b@example.org")
    assert (job.delay_s, job.priority, job.unique, job.headers) == (60, 3, "b", {"trace": "t"})
    assert (job.name, job.queue, job.max_attempts) == ("assert_send", "default", None)
    assert job.arguments == {"to": "b@example.org", "tags": ["x"]}


def test_defaults_tuples_and_matchers_compare_as_they_arrive(queue: callboard.Queue):
    testing.assert_pushed(queue, assert_send, count=2, subject="hello")
    testing.assert_pushed(queue, assert_send, tags=("x",))
    testing.assert_pushed(queue, assert_send, count=2, to=ANY)
    testing.assert_not_pushed(queue, assert_send, to=object())


def test_another_value_or_job_is_not_found(queue: callboard.Queue):
    testing.assert_not_pushed(queue, assert_send, to="c@example.org")
    testing.assert_not_pushed(queue, AssertResize("cat.png", size=5))
    testing.assert_not_pushed(queue, assert_open_ended)


def test_further_arguments_are_compared_by_name():
    queue = testing.memory_queue()
    queue.push(assert_open_ended.bind(1, colour="red"))
    testing.assert_pushed(queue, assert_open_ended, first=1, colour="red")
    testing.assert_not_pushed(queue, assert_open_ended, colour="blue")
    testing.assert_not_pushed(queue, assert_open_ended, shape="round")


def test_a_failure_shows_what_was_pushed(queue: callboard.Queue):
    with pytest.raises(AssertionError) as raised:
        testing.assert_pushed(queue, assert_send, to="c@example.org")
    assert str(raised.value).splitlines() == [
        "assert_send(to='c@example.org') was not pushed; what was pushed:",
        "  1. assert_send(to='a@example.org') on 'default'",
        ("  2. assert_send(to='b@example.org', tags=['x']) on 'default', in 60 s, priority 3, unique 'b', "
         "headers {'trace': 't'}"),
        "  3. AssertResize(path='cat.png', size=100) on 'pictures'",
    ]


def test_a_wrong_count_shows_which_ones_matched(queue: callboard.Queue):
    with pytest.raises(AssertionError, match=r"(?s)AssertResize was not pushed 2 times, but 1 times.*'pict.*<- this$"):
        testing.assert_pushed(queue, AssertResize, count=2)
    with pytest.raises(AssertionError, match=r"(?s)assert_send was pushed 2 times; .*<- this.*<- this"):
        testing.assert_not_pushed(queue, assert_send)


def test_an_empty_queue_says_so_and_a_long_list_is_cut():
    queue = testing.memory_queue()
    with pytest.raises(AssertionError, match="nothing was pushed"):
        testing.assert_pushed(queue, assert_send)
    queue.push_many([assert_send.bind("x" * 500)] * 30)
    with pytest.raises(AssertionError, match=r"and 10 more") as raised:
        testing.assert_pushed(queue, AssertResize)
    assert len(str(raised.value)) < 3_000


@pytest.mark.parametrize("check", [testing.assert_pushed, testing.assert_not_pushed, testing.pushed])
def test_a_misspelt_argument_or_job_can_t_pass(queue: callboard.Queue, check: Any):
    with pytest.raises(InvalidArgument, match="did you mean 'subject'"):
        check(queue, assert_send, subjetc="x")
    with pytest.raises(UnknownJob, match="did you mean 'assert_send'"):
        check(queue, "assert_sendd")
    with pytest.raises(InvalidArgument, match="names no job"):
        check(queue, print)


def test_pushed_lists_everything_and_named_queues_their_own(queue: callboard.Queue):
    assert [job.name for job in testing.pushed(queue)] == ["assert_send", "assert_send", "AssertResize"]
    assert [job.name for job in testing.pushed(queue, assert_send)] == ["assert_send", "assert_send"]
    assert [job.name for job in testing.pushed(queue.named("pictures"))] == ["AssertResize"]
    testing.assert_not_pushed(queue.named("pictures"), assert_send)


def test_the_same_id_twice_is_one_push():
    queue = testing.memory_queue()
    for _ in range(2):
        queue.push(assert_send.bind("a"), id="one")
    testing.assert_pushed(queue, assert_send, count=1)


def test_jobs_that_have_run_were_pushed(queue: callboard.Queue):
    testing.drain(queue, delayed=True)
    assert len(testing.pushed(queue)) == 3

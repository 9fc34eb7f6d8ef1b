"""What users write: classes and functions become definitions; bad ones fail where they are written."""

from __future__ import annotations

import datetime as dt

import pytest

from callboard.core.errors import CodecError, InvalidArgument, InvalidJob, QueueError, UnknownJob, UnknownOption
from callboard.core.errors import UsageError as Usage
from callboard.core.job import Job, current_job
from callboard.core.options import backoff_of, parse_options, seconds
from callboard.core.records import Backoff
from callboard.core.registry import Registry, decode_body, encode_body, registry
from callboard.jobs import job


class UnitMail(Job):
    """Send."""

    to: str
    subject: str = "hi"
    queue = "emails"
    max_attempts = 4
    timeout = dt.timedelta(minutes=2)
    permanent = (ValueError,)

    def handle(self):
        return self.to

    def retry_after(self, attempt):
        return 2 ** (attempt - 1)

    def failed(self, error):
        del error


def test_a_class_says_its_policy():
    definition = registry.get("UnitMail")
    spec = definition.spec()
    assert (spec.fields, spec.required, spec.queue, spec.max_attempts) == (("to", "subject"), ("to",), "emails", 4)
    assert (spec.timeout_s, spec.backoff, spec.has_failed_hook, spec.doc) == (120.0, None, True, "Send.")
    assert definition.retry_method(UnitMail("a"), 3) == 4
    assert UnitMail("a").payload == {"to": "a", "subject": "hi"}
    assert UnitMail("a").attempts == 0


def test_a_function_stays_a_function():
    @job(name="unit.add", max_attempts=2, retry_after=Backoff(1.0, 2.0))
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert add(1) == 3
    assert add.bind(1, b=5).arguments == {"a": 1, "b": 5}
    assert add.definition.call({"a": 1, "b": 5}) == 6
    with pytest.raises(InvalidArgument, match="missing"):
        add.bind()


def test_star_arguments_come_back_where_they_were():
    @job(name="unit.star")
    def star(a, *rest, **more):
        return a, rest, more

    bound = star.bind(1, 2, 3, x=4)
    arguments, _ = decode_body(encode_body("unit.star", bound.arguments))
    assert star.definition.call(arguments) == (1, (2, 3), {"x": 4})


@pytest.mark.parametrize("name", ["queue", "timeout", "attempts", "payload", "context", "handle"])
def test_a_field_named_like_a_setting_is_an_error_at_the_class(name):
    with pytest.raises(InvalidJob, match=name):
        type("Bad", (Job,), {"__annotations__": {name: str}, "__module__": __name__})


def test_two_jobs_of_one_name_are_refused_and_a_reloaded_module_is_not():
    mine = Registry()
    mine.add_class(UnitMail)
    mine.add_class(UnitMail)
    other = type("UnitMail", (), {"__module__": "elsewhere"})
    with pytest.raises(InvalidJob, match="two jobs are named"):
        mine._add(mine.get("UnitMail").__class__(**{
            **{f: getattr(mine.get("UnitMail"), f) for f in mine.get("UnitMail").__slots__},
            "origin": (other.__module__, "UnitMail"), "target": other}))


def test_an_unknown_job_is_named_with_what_is_near():
    with pytest.raises(UnknownJob, match="did you mean 'UnitMail'"):
        registry.get("UnitMial")


def test_options_are_checked_by_name_and_range():
    with pytest.raises(UnknownOption, match="did you mean 'priority'"):
        parse_options({"prioritty": 1})
    for bad in ({"priority": 101}, {"priority": True}, {"delay": -1}, {"timeout": 0}, {"max_attempts": 0},
                {"queue": "no spaces"}, {"queue": ""}, {"headers": {"a": 1}}, {"unique": "\n"}, {"retry_after": "1"}):
        with pytest.raises(InvalidArgument):
            parse_options(bad)


def test_the_push_goes_before_the_class():
    below = registry.get("UnitMail").options
    options = parse_options({"queue": "slow", "delay": dt.timedelta(seconds=3)}).over(below)
    assert (options.queue, options.delay_s, options.max_attempts) == ("slow", 3.0, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, "5", None, True])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(InvalidArgument, match="delay"):
        seconds(value, "delay")


@pytest.mark.parametrize("value", [Backoff(-1.0), Backoff(1.0, 0.5), Backoff(1.0, 2.0, 10.0, 1.5)])
def test_a_backoff_is_checked(value):
    with pytest.raises(InvalidArgument):
        backoff_of(value)


def test_there_is_no_current_job_outside_of_a_run():
    with pytest.raises(QueueError, match="no job runs here"):
        current_job()


@pytest.mark.parametrize("body", [b"", b"\x80", b"\x81\xa1a\x01", b"\xc1"])
def test_a_body_that_is_none_is_refused(body):
    with pytest.raises(CodecError):
        decode_body(body)


def test_errors_say_how_the_command_line_ends():
    assert (Usage("x").exit_code, QueueError("x").exit_code) == (2, 1)
    error = QueueError("what", job="id", cause=KeyError("k"))
    assert (error.message, error.job, error.__cause__.args) == ("what", "id", ("k",))

"""What users write: classes and functions become definitions; bad ones fail where they are written."""

from __future__ import annotations

import datetime as dt

import pytest

from callboard.backends.executors.specs import spec_of
from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError, InvalidArgument, InvalidJob, QueueError, UnknownJob, UnknownOption
from callboard.core.errors import UsageError as Usage
from callboard.core.job import Job, JobContext, current_job
from callboard.core.options import Unique, backoff_of, parse_options, seconds
from callboard.core.records import Backoff, Token, UniqueUntil
from callboard.core.registry import Registry, decode_body, encode_body, read_body, registry
from callboard.jobs import job
from callboard.pushing import job_of_spec
from callboard.queue import new_job


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
                {"queue": "no spaces"}, {"queue": ""}, {"headers": {"a": 1}}, {"unique": "\n"}, {"retry_after": "1"},
                {"at_most_once": 1}, {"at_most_once": True, "max_attempts": 2}, {"expires": 0}, {"result_ttl": -1},
                {"tags": "one"}, {"tags": ["x" * 101]}, {"tags": [""]}, {"tags": list("abcdefghijklmnopqrstu")},
                {"unique": 7}):
        with pytest.raises(InvalidArgument):
            parse_options(bad)


def test_the_push_goes_before_the_class():
    below = registry.get("UnitMail").options
    options = parse_options({"queue": "slow", "delay": dt.timedelta(seconds=3)}).over(below)
    assert (options.queue, options.delay_s, options.max_attempts) == ("slow", 3.0, 4)


def test_a_unique_key_says_how_long_it_is_held():
    assert parse_options({"unique": "k"}).unique == Unique("k")
    assert (Unique("k").holds, Unique("k").period_s) == (UniqueUntil.DONE, None)
    assert Unique("k", until="started").holds is UniqueUntil.STARTED
    period = Unique("k", period=dt.timedelta(minutes=1))
    assert (period.holds, period.period_s) == (UniqueUntil.PERIOD, 60.0)
    for bad in ({"key": ""}, {"key": 1}, {"until": "never"}, {"period": 0}, {"period": "1"},
                {"until": "started", "period": 1}):
        with pytest.raises(InvalidArgument, match="Unique"):
            Unique(**{"key": "k", **bad})


def test_one_attempt_is_all_that_an_at_most_once_job_has():
    below = parse_options({"at_most_once": True})
    assert parse_options({}).over(below).max_attempts == 1
    assert parse_options({"at_most_once": True}).over(parse_options({"max_attempts": 5})).max_attempts == 1
    assert parse_options({"at_most_once": False, "max_attempts": 5}).over(below).max_attempts == 5
    with pytest.raises(InvalidArgument, match="max_attempts=5 contradicts at_most_once"):
        parse_options({"max_attempts": 5}).over(below)
    with pytest.raises(InvalidArgument, match="contradicts"):
        job(name="unit.once", at_most_once=True, max_attempts=2)(lambda: None)


def test_a_job_that_would_expire_before_it_may_start_is_refused():
    below = parse_options({"expires": 60})
    assert parse_options({"delay": 59}).over(below).expires_s == 60.0
    with pytest.raises(InvalidArgument, match="expire"):
        parse_options({"delay": 60}).over(below)


def test_tags_go_along_each_once_and_a_body_that_lies_about_them_is_refused():
    tags = parse_options({"tags": ["b", "a", "b"]}).tags
    assert tags == ("b", "a")
    assert read_body(encode_body("n", {"x": 1}, (("h", "v"),), tags)) == ({"x": 1}, {"h": "v"}, tags)
    for bad in ("a", [1], ["x" * 101], {"a": 1}):
        with pytest.raises(CodecError):
            read_body(encode({"a": {}, "t": bad}))
    with pytest.raises(CodecError):
        read_body(encode({"a": {}, "h": {"\n": "x"}}))


def test_what_a_push_writes_has_every_option_of_push_and_class():
    @job(name="unit.all", at_most_once=True, expires=60, result_ttl=0, tags=["t"], unique=Unique("u", period=5))
    def every() -> None:
        """Nothing."""

    spec = every.definition.spec()
    for new in (new_job(every.definition, {}, {}, "default"), job_of_spec(spec, {}, {}),
                job_of_spec(spec_of(list(decode(encode(spec)))), {}, {})):
        assert (new.at_most_once, new.max_attempts, new.expires_s, new.result_ttl_s) == (True, 1, 60.0, 0.0)
        assert (new.unique, new.unique_until, new.unique_period_s) == ("u", UniqueUntil.PERIOD, 5.0)
        assert read_body(new.body).tags == ("t",)
    given = {"at_most_once": False, "result_ttl": 5, "tags": ["mine"], "unique": Unique("v", until="started")}
    new = new_job(every.definition, {}, given, "default")
    assert (new.at_most_once, new.max_attempts, new.result_ttl_s) == (False, None, 5.0)
    assert (new.unique, new.unique_until, new.unique_period_s) == ("v", UniqueUntil.STARTED, None)
    assert read_body(new.body).tags == ("mine",)


@pytest.mark.parametrize(("given", "told"), [(None, None), (0.25, 0.25), (2, 1.0), (-1.0, 0.0)])
def test_progress_is_a_fraction_and_words(given, told):
    said = []
    context = JobContext("id", Token(1, 1), "n", "q", 1, 0, 1.0, 1.0, {}, said.append)
    context.progress(given, "x" * 600)
    assert said == [{"fraction": told, "message": "x" * 500}]


@pytest.mark.parametrize("bad", ["half", float("nan"), True, [1]])
def test_progress_that_is_no_number_is_refused(bad):
    context = JobContext("id", Token(1, 1), "n", "q", 1, 0, 1.0, 1.0, {}, print)
    with pytest.raises(InvalidArgument, match="fraction"):
        context.progress(bad)


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

"""What jobs print becomes notes, with their token where that is certain."""

from __future__ import annotations

import pytest
from executor_kit import running

from callboard.core.runs import EndKind


@pytest.fixture(params=["process", "thread", "asyncio"])
def rig(request):
    with running(request.param, slots=2) as made:
        yield made


def lines_of(rig, token, count):
    """The lines of a job, once there are so many."""
    def enough(told):
        return len([note for note in told.of("job.output") if note.token == token]) >= count

    rig.told.wait(enough, f"{count} lines of {token}")
    return rig.output(token)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_lines_carry_the_jobs_token_and_stream(rig, stream):
    token = rig.start("prints", text="one\ntwo", stream=stream)
    assert lines_of(rig, token, 2) == ["one", "two"]
    assert {note.fields["stream"] for note in rig.told.of("job.output") if note.token == token} == {stream}


def test_a_line_without_an_end_is_told_at_the_jobs_end(rig):
    token = rig.start("prints", text="no newline", end="")
    assert lines_of(rig, token, 1) == ["no newline"]


def test_lines_of_several_jobs_are_not_mixed_up(rig):
    tokens = rig.submit(*(rig.job("prints", text=f"{n} a\n{n} b") for n in range(20)))
    for number, token in enumerate(tokens):
        assert lines_of(rig, token, 2) == [f"{number} a", f"{number} b"]


def test_output_is_told_before_its_jobs_end_is_lost_in_a_crash(rig):
    token = rig.start("prints", text="x")
    rig.end(token)
    assert lines_of(rig, token, 1) == ["x"]


def test_binary_and_broken_text_do_no_harm(rig):
    token = rig.start("prints_binary")
    assert lines_of(rig, token, 1) == ["\\xff\x00ok"]
    assert rig.end(token).kind == EndKind.COMPLETED


def test_long_lines_are_cut_in_pieces(rig):
    token = rig.start("prints", text="y" * 20_000)
    assert [len(line) for line in lines_of(rig, token, 3)] == [8_192, 8_192, 3_616]


def test_a_flood_is_cut_and_counted(rig):
    token = rig.start("prints_lines", count=5_000)
    rig.end(token)
    rig.told.wait(lambda told: any(note.token == token for note in told.of("job.output_dropped")), "the count")
    dropped = sum(note.fields["lines"] for note in rig.told.of("job.output_dropped") if note.token == token)
    told = len(rig.output(token))
    assert 200 <= told < 5_000
    assert told + dropped == 5_000


def test_what_programs_and_c_code_write_is_told_without_a_token(rig):
    token = rig.start("prints_raw", text="raw words")
    assert rig.end(token).kind == EndKind.COMPLETED

    def both(told):
        return {"raw words", "raw words from a program"} <= {note.fields["line"] for note in told.of("job.output")}

    rig.told.wait(both, "both lines")
    streams = {note.fields["line"]: note for note in rig.told.of("job.output")}
    assert streams["raw words"].fields["stream"] == "stdout"
    assert streams["raw words from a program"].fields["stream"] == "stderr"
    assert streams["raw words"].token is None
    assert streams["raw words"].pid


def test_a_job_that_closes_stdout_closes_only_its_own(rig):
    rig.run("closes_stdout")
    token = rig.start("prints", text="still here")
    assert rig.end(token).kind == EndKind.COMPLETED
    assert lines_of(rig, token, 1) == ["still here"]


def test_progress_is_told(rig):
    token = rig.start("progresses")
    rig.told.wait(lambda told: told.of("job.progress"), "progress")
    (note,) = rig.told.of("job.progress")
    assert (note.token, note.fields) == (token, {"fraction": 0.3, "message": "third"})

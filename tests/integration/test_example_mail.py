"""examples/mail: retries while the server is away, failure for good where it refuses."""

from __future__ import annotations

import email
import smtplib
from typing import TYPE_CHECKING, Self

import pytest
from examplekit import load_jobs, run_example

import callboard
from callboard import testing

if TYPE_CHECKING:
    from pathlib import Path


def test_mails_arrive_once_the_server_is_there_and_refused_ones_fail_for_good(tmp_path: Path):
    output = run_example("mail", "--work", str(tmp_path))
    mails = [email.message_from_bytes(path.read_bytes()) for path in (tmp_path / "mails").glob("*.eml")]
    assert sorted(str(mail["To"]) for mail in mails) == [
        "ada@example.org", "barbara@example.org", "edsger@greylisted.example", "grace@example.org"]
    assert "https://shop.example/reset/8b1f" in next(
        mail.get_payload() for mail in mails if mail["To"] == "barbara@example.org")
    assert output.count("Connection refused") >= 6
    assert output.count("attempt 1 of") == 6
    assert "451 4.7.1 greylisted" in output
    assert "6 mails: 4 sent, 2 given up." in output
    assert (tmp_path / "bounces.txt").read_text() == (
        "nobody@refused.example\tPermanentError: 550 5.1.1 no such user\n" * 2)
    queue = callboard.connect(f"sqlite:///{tmp_path}/jobs.db")
    assert {job.error for job in queue.failed.list()} == {"550 5.1.1 no such user"}
    queue.close()


class Server:
    """Stands for smtplib.SMTP: answers as it is told."""

    def __init__(self, answer: Exception | None):
        self.answer = answer
        self.sent: list[email.message.EmailMessage] = []

    def __call__(self, *_args: object, **_options: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to close."""

    def send_message(self, message: email.message.EmailMessage) -> None:
        if self.answer is not None:
            raise self.answer
        self.sent.append(message)


@pytest.mark.parametrize(("answer", "permanent"), [
    (ConnectionRefusedError(), False),
    (smtplib.SMTPServerDisconnected("gone"), False),
    (smtplib.SMTPRecipientsRefused({"a@b.example": (550, b"no such user")}), True),
    (smtplib.SMTPRecipientsRefused({"a@b.example": (451, b"come again")}), False),
    (smtplib.SMTPDataError(554, b"rejected"), True),
    (smtplib.SMTPSenderRefused(421, b"too busy", "shop@example.org"), False),
], ids=repr)
def test_5xx_is_final_and_everything_else_is_tried_again(monkeypatch: pytest.MonkeyPatch, answer: Exception,
                                                         permanent: bool):  # noqa: FBT001 - a table's column
    jobs = load_jobs("mail")
    monkeypatch.setattr(smtplib, "SMTP", Server(answer))
    queue = testing.memory_queue()
    queue.push(jobs.WelcomeMail("a@b.example", "Ada"))
    report = testing.drain(queue)
    assert (len(report.failed), len(report.retried)) == ((1, 0) if permanent else (0, 1))


def test_a_reset_overtakes_and_the_message_id_is_the_job_s(monkeypatch: pytest.MonkeyPatch):
    jobs = load_jobs("mail")
    server = Server(None)
    monkeypatch.setattr(smtplib, "SMTP", server)
    queue = testing.memory_queue()
    queue.push(jobs.WelcomeMail("a@b.example", "Ada"))
    job_id = queue.push(jobs.PasswordResetMail("c@d.example", "https://shop.example/reset/1"))
    testing.drain(queue).assert_no_failures()
    assert [message["To"] for message in server.sent] == ["c@d.example", "a@b.example"]
    assert server.sent[0]["Message-ID"] == f"<{job_id}@callboard.example>"


def test_a_line_break_in_an_address_fails_for_good_and_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    jobs = load_jobs("mail")
    server = Server(None)
    monkeypatch.setattr(smtplib, "SMTP", server)
    queue = testing.memory_queue()
    queue.push(jobs.WelcomeMail("a@b.example\r\nBcc: all@b.example", "Ada"))
    assert [run.error.kind for run in testing.drain(queue).failed if run.error is not None] == ["ValueError"]
    assert server.sent == []

"""Mails as jobs: tried again while the server is away, given up at once when it refuses the address."""

from __future__ import annotations

import os
import smtplib
from email.message import EmailMessage
from pathlib import Path

import callboard

PERMANENT_FROM = 500
"""SMTP replies from here on are final; those below ask to come again."""
SMTP_TIMEOUT_S = 10


class Mail(callboard.Job, abstract=True):
    """What all mails share. Where the server is, the environment says: MAIL_HOST, MAIL_PORT, MAIL_FROM.

    ValueError is permanent: it is what EmailMessage raises for an address with a line break in it.
    """

    to: str

    queue = "emails"
    max_attempts = 8
    timeout = 30
    retry_after = callboard.Backoff(0.5, factor=2, cap_s=60, jitter=0.2)
    permanent = (ValueError,)

    def subject(self) -> str:
        """The subject line."""
        raise NotImplementedError

    def body(self) -> str:
        """The text."""
        raise NotImplementedError

    def handle(self) -> None:
        """Send it."""
        message = EmailMessage()
        message["From"] = os.environ.get("MAIL_FROM", "shop@example.org")
        message["To"] = self.to
        message["Subject"] = self.subject()
        # The job's id is the same at every attempt: a mail that was sent twice can be told by it.
        message["Message-ID"] = f"<{self.context.job_id}@callboard.example>"
        message.set_content(self.body())
        try:
            with smtplib.SMTP(os.environ.get("MAIL_HOST", "127.0.0.1"), int(os.environ.get("MAIL_PORT", "25")),
                              timeout=SMTP_TIMEOUT_S) as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, reason = error.recipients[self.to]
            raise refusal(code, reason) from error
        except smtplib.SMTPResponseException as error:
            raise refusal(error.smtp_code, error.smtp_error) from error

    def failed(self, error: Exception) -> None:
        """Note the address, so that nobody writes to it again."""
        if notes := os.environ.get("MAIL_BOUNCES"):
            with Path(notes).open("a", encoding="utf-8") as file:
                file.write(f"{self.to}\t{error}\n")


class WelcomeMail(Mail):
    """To someone who has just signed up."""

    name: str

    def subject(self) -> str:
        """The subject line."""
        return "Welcome"

    def body(self) -> str:
        """The text."""
        return f"Hello {self.name},\n\nwelcome to our shop.\n"


class PasswordResetMail(Mail):
    """To someone who asked for it. It overtakes the welcomes: somebody waits for it."""

    link: str

    priority = 10
    max_attempts = 12

    def subject(self) -> str:
        """The subject line."""
        return "Your new password"

    def body(self) -> str:
        """The text."""
        return f"Choose a new password here:\n{self.link}\n"


def refusal(code: int, reason: bytes | str) -> callboard.QueueError:
    """The error for an SMTP reply: permanent, or to be tried again."""
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
    if code >= PERMANENT_FROM:
        return callboard.PermanentError(f"{code} {text}")
    return callboard.RetryLater(message=f"{code} {text}")

"""Send mails by jobs: while the mail server is down they are tried again, and a refused address fails for good."""

from __future__ import annotations

import email
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import jobs
from aiosmtpd.controller import Controller

import callboard

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

HERE = Path(__file__).resolve().parent
WAIT_S = 60.0
MAILS: list[callboard.Job] = [
    jobs.WelcomeMail("ada@example.org", "Ada"),
    jobs.WelcomeMail("grace@example.org", "Grace"),
    jobs.WelcomeMail("nobody@refused.example", "Nobody"),
    jobs.WelcomeMail("edsger@greylisted.example", "Edsger"),
    jobs.PasswordResetMail("barbara@example.org", "https://shop.example/reset/8b1f"),
    jobs.PasswordResetMail("nobody@refused.example", "https://shop.example/reset/77c0"),
]


class Mailbox:
    """The mail server: keeps what it is sent in a folder, one file for each Message-ID."""

    def __init__(self, folder: Path) -> None:
        """An empty mailbox."""
        self.folder = folder
        self._seen: set[str] = set()
        folder.mkdir(exist_ok=True)

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str,  # noqa: N802 - aiosmtpd's name and arguments
                          _options: list[str]) -> str:
        """Refuse one domain for good, and another one at its first try."""
        if address.endswith("@refused.example"):
            return "550 5.1.1 no such user"
        if address.endswith("@greylisted.example") and address not in self._seen:
            self._seen.add(address)
            return "451 4.7.1 greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the mail. Sent a second time it is the same file."""
        content = envelope.content
        data = content if isinstance(content, bytes) else (content or "").encode()
        name = str(email.message_from_bytes(data)["Message-ID"]).strip("<>").partition("@")[0]
        (self.folder / f"{name}.eml").write_bytes(data)
        return "250 OK"


class Watch:
    """What became of the mails so far; prints it as it happens."""

    def __init__(self, total: int) -> None:
        """Nothing yet."""
        self._lock = threading.Lock()
        self._tried: set[str] = set()
        self._ended: set[str] = set()
        self._total = total
        self.all_tried = threading.Event()
        self.all_ended = threading.Event()

    def retries(self, store: str) -> None:
        """Follow the node's events; on a thread of its own."""
        client = callboard.Client(store)
        while not self.all_ended.is_set():
            try:
                for line in client.events(follow=True, event="job.retrying"):
                    click.echo(f"  attempt {line['attempt']} of {line['name']} failed: {line['error']}")
                    self._mark(self._tried, self.all_tried, line["job"])
            except callboard.QueueError:  # the node is not there yet
                self.all_ended.wait(0.1)

    def completed(self, job: Any) -> None:
        """A mail was sent."""
        click.echo(f"  sent: {job.name} to {job.payload['to']} at attempt {job.attempt}")
        self._mark(self._ended, self.all_ended, job.id)

    def failed(self, job: Any, error: callboard.QueueError) -> None:
        """A mail was given up."""
        click.echo(f"  given up: {job.name} to {job.payload['to']}: {error.message}")
        self._mark(self._ended, self.all_ended, job.id)

    def _mark(self, seen: set[str], event: threading.Event, job_id: str) -> None:
        with self._lock:
            seen.add(job_id)
            if len(seen) == self._total:
                event.set()


@click.command(help=__doc__)
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), default=HERE / "work",
              help="Folder for the mails and the jobs' store; made anew.")
def main(work: Path) -> None:
    """Push the mails, start a node, and only then the mail server."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prepare(work)
    store = f"sqlite:///{work.resolve() / 'jobs.db'}"
    port = free_port()
    os.environ |= {"MAIL_PORT": str(port), "MAIL_BOUNCES": str(work / "bounces.txt")}
    server = Controller(Mailbox(work / "mails"), hostname="127.0.0.1", port=port)
    try:
        run(store, server)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if server.server is not None:
            server.stop()
    sys.exit(summary(store, work))


def prepare(work: Path) -> None:
    """An empty folder, but for what is not ours."""
    work.mkdir(parents=True, exist_ok=True)
    for old in [*work.glob("jobs.db*"), *work.glob("bounces.txt"), *work.glob("mails/*.eml")]:
        old.unlink()


def run(store: str, server: Controller) -> None:
    """Send all mails."""
    queue = callboard.connect(store, queue="emails")
    watch = Watch(len(MAILS))
    worker = callboard.Worker(queue, callboard.WorkerConfig(concurrency=4, executor="thread", log_level="error"))
    worker.pool.set_on_completed(watch.completed)
    worker.pool.set_on_failed(watch.failed)
    with worker:
        threading.Thread(target=watch.retries, args=(store,), daemon=True).start()
        click.echo(f"{len(MAILS)} mails are pushed; the mail server is down.")
        queue.push_many(MAILS)
        wait_for(watch.all_tried, "every mail to be tried")
        server.start()
        click.echo(f"The mail server is up, on port {server.port}.")
        wait_for(watch.all_ended, "every mail to be sent or given up")


def wait_for(event: threading.Event, what: str) -> None:
    """Wait, but not for ever."""
    if not event.wait(WAIT_S):
        click.echo(f"waited {WAIT_S:g} s in vain for {what}", err=True)
        sys.exit(1)


def summary(store: str, work: Path) -> int:
    """Say what came of it; the exit code."""
    queue = callboard.connect(store, queue="emails")
    sent = sorted((work / "mails").iterdir())
    failed = queue.failed.list()
    click.echo(f"\n{len(MAILS)} mails: {len(sent)} sent, {len(failed)} given up.")
    for job in failed:
        click.echo(f"  {job.name} to {job.arguments['to']}, attempt {job.attempts}: {job.error_kind}: {job.error}")
    click.echo(f"\nThe mails are in {shown(work / 'mails')}. Go on with:\n  callboard failed list --store {store}")
    return 0 if len(sent) + len(failed) == len(MAILS) else 1


def shown(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()

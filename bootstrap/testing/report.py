"""What became of the jobs that a test ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.core.records import ErrorRecord

RunOutcome = Literal["completed", "retried", "failed", "snoozed", "cancelled"]

SHOWN_MAX: Final = 20
"""Jobs that a message lists."""
VALUE_MAX: Final = 60
"""Characters of one argument that a message shows."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one job.

    Attributes:
        attempt: 1 at the first try.
        step: "handle", or "failed" for the run of its failed().
        outcome: what the store was told.
        delay_s: retried, snoozed: seconds until the job is due again.
        error: what the store keeps of the exception, in strings.
        exception: the exception itself, with its traceback.
        progress: what the job reported by `context.progress`: a fraction and a message each time.
    """

    id: str
    name: str
    queue: str
    arguments: dict[str, Any]
    attempt: int
    step: Literal["handle", "failed"]
    outcome: RunOutcome
    delay_s: float = 0.0
    error: ErrorRecord | None = None
    exception: BaseException | None = None
    progress: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        """One line for a person."""
        what = call_text(self.name, self.arguments) + (".failed()" if self.step == "failed" else "")
        after = f" for {self.delay_s:g} s" if self.outcome in {"retried", "snoozed"} else ""
        error = "" if self.error is None else f": {self.error.kind}: {self.error.message}"
        return f"{what} attempt {self.attempt} {self.outcome}{after}{error}"


@dataclass(frozen=True, slots=True)
class Report:
    """The runs of a drain, in order.

    Attributes:
        runs: all of them, those of failed() too.
    """

    runs: list[Run] = field(default_factory=list[Run])

    @property
    def completed(self) -> list[Run]:
        """Runs that completed their job."""
        return self._of("completed")

    @property
    def retried(self) -> list[Run]:
        """Attempts that failed, with another one to come."""
        return self._of("retried")

    @property
    def failed(self) -> list[Run]:
        """Attempts after which their job was on the failed list."""
        return self._of("failed")

    @property
    def snoozed(self) -> list[Run]:
        """Runs that raised Snooze."""
        return self._of("snoozed")

    @property
    def failed_hooks(self) -> list[Run]:
        """Runs of failed()."""
        return [run for run in self.runs if run.step == "failed"]

    @property
    def errors(self) -> list[str]:
        """What attempts and failed() raised, a line each; a Snooze is none."""
        return [str(run) for run in self.runs if run.error is not None and run.outcome != "snoozed"]

    def assert_no_failures(self) -> Report:
        """Go on if every attempt and failed() went well; the report.

        Raises:
            AssertionError: Raised when one did not; says which and why, and has the first one's exception as its cause.
        """
        bad = [run for run in self.runs if run.error is not None and run.outcome != "snoozed"]
        if bad:
            cause = next((run.exception for run in bad if run.exception is not None), None)
            raise AssertionError(f"jobs failed:\n{listing(bad)}") from cause
        return self

    def _of(self, outcome: RunOutcome) -> list[Run]:
        return [run for run in self.runs if run.step == "handle" and run.outcome == outcome]

    def __str__(self) -> str:
        """The runs, a line each."""
        return listing(self.runs) if self.runs else "no job ran"


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """A job as a call, with long values cut."""
    parts = [f"{key}={_short(value)}" for key, value in arguments.items()]
    return f"{name}({', '.join(parts)})"


def listing(items: list[Any]) -> str:
    """Numbered lines, at most SHOWN_MAX."""
    lines = [f"  {number}. {item}" for number, item in enumerate(items[:SHOWN_MAX], 1)]
    if len(items) > SHOWN_MAX:
        lines.append(f"  ... and {len(items) - SHOWN_MAX:,} more")
    return "\n".join(lines)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_MAX else text[: VALUE_MAX - 3] + "..."

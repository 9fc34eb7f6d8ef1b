"""One run of one job in a child: from the bytes that came to what its end means."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import callboard.core.registry as registry_module
from callboard.backends.executors.shared import NS
from callboard.core.errorrecord import decode_error, error_record
from callboard.core.errors import (
    CodecError,
    InvalidArgument,
    PermanentError,
    QueueError,
    RetryLater,
    Snooze,
    TimeLimitExceeded,
)
from callboard.core.job import FailedJobError, JobContext
from callboard.core.options import seconds
from callboard.core.records import ErrorRecord, Step, TakenJob, Token
from callboard.core.registry import read_body, registry
from callboard.core.result import encode_result, lost_result
from callboard.core.runs import EndKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.registry import JobDefinition

_OURS: Final = str(Path(__file__).parent)
_REGISTRY: Final = registry_module.__file__
_CHAIN_MAX: Final = 50
_OUT_OF_MEMORY: Final = ErrorRecord("MemoryError", "the job reached its child's memory limit")


class Ending(NamedTuple):
    """How a run ended, unless it simply completed with nothing to be kept."""

    kind: EndKind
    error: ErrorRecord | None = None
    permanent: bool = False
    retry_after_s: float | None = None
    snooze_s: float | None = None
    result: bytes | None = None


@dataclass(slots=True)
class Run:
    """One job that is about to run, or runs.

    Attributes:
        note: sends an event from inside user code.
        instance: the Job object, once it is made; None for a function.
        result: what it returned, encoded, if that is to be kept.
    """

    job: TakenJob
    definition: JobDefinition
    arguments: dict[str, Any]
    context: JobContext
    note: Callable[[str, Token | None, dict[str, Any]], None]
    instance: Any = None
    result: bytes | None = None

    def call(self) -> Any:
        """Run the user's code; what it returns may have to be awaited."""
        definition = self.definition
        if not definition.is_class:
            return None if self.job.step == Step.FAILED_HOOK else definition.call(self.arguments)
        self.instance = definition.instance(self.arguments)
        if self.job.step == Step.FAILED_HOOK:
            return self.instance.failed(self._failure())
        return self.instance.handle()

    def returned(self, value: object) -> None:
        """Keep what handle() returned; what can't be kept is told, and fails nobody."""
        if value is None or not self.job.keeps_result or self.job.step != Step.HANDLE:
            return
        try:
            self.result = encode_result(value)
        except TimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001 - of a subclass of dict or list it is user code that is asked
            self.result = lost_result(error)
            why = f"{type(error).__name__}: {_message(error)}"[:500]
            self.note("job.result_lost", self.context.token, {"error": why})

    def ending(self) -> Ending | None:
        """How it ended, as nothing was raised."""
        return None if self.result is None else Ending(EndKind.COMPLETED, result=self.result)

    def _failure(self) -> FailedJobError:
        try:
            record = decode_error(self.job.error or b"")
        except CodecError:
            record = ErrorRecord("Unknown", "what the job failed of can't be read")
        return FailedJobError(record.kind, record.message, record.traceback)


class Runs:
    """Makes runs of jobs, and judges how they ended."""

    def __init__(
        self,
        note: Callable[[str, Token | None, dict[str, Any]], None],
        progress: Callable[[Token, dict[str, Any]], None],
    ) -> None:
        """`note` and `progress` send from inside user code."""
        self._note = note
        self._progress = progress

    def begin(self, job: TakenJob, started_ns: int, timeout_s: float) -> Run | Ending:
        """Everything that needs no user code."""
        definition = registry.find(job.name)
        if definition is None:
            message = f"no job is named {job.name!r} in this node's app"
            return Ending(EndKind.UNKNOWN_JOB, error_record("UnknownJob", message))
        try:
            arguments, headers, tags = read_body(job.body)
        except QueueError as error:
            return Ending(EndKind.RAISED, error_record(type(error).__name__, str(error)), permanent=True)
        token = Token(*job.token)

        def report(fields: dict[str, Any]) -> None:
            self._progress(token, fields)

        context = JobContext(
            job.id, token, job.name, job.queue, job.attempt, job.losses, timeout_s, started_ns / NS + timeout_s,
            headers, report, tags,
        )
        return Run(job, definition, arguments, context, self._note)

    def judge(self, run: Run, error: BaseException) -> Ending:
        """What this exception means. Runs user code: the retry_after method."""
        record = describe(error)
        if isinstance(error, Snooze):
            return self._snoozed(error, record)
        if isinstance(error, TypeError) and self._misfit(run):
            return Ending(EndKind.RAISED, record._replace(kind="InvalidArgument"), permanent=True)
        if isinstance(error, (PermanentError, *run.definition.permanent)):
            return Ending(EndKind.RAISED, record, permanent=True)
        retry_after_s = self._retry_after(run, error)
        if isinstance(error, TimeLimitExceeded):
            return Ending(EndKind.TIMED_OUT, record._replace(kind="Timeout"), retry_after_s=retry_after_s)
        return Ending(EndKind.RAISED, record, retry_after_s=retry_after_s)

    @staticmethod
    def _snoozed(error: Snooze, record: ErrorRecord) -> Ending:
        try:
            return Ending(EndKind.RAISED, record, snooze_s=seconds(error.after, "Snooze(after)"))
        except InvalidArgument as invalid:
            return Ending(EndKind.RAISED, error_record("InvalidArgument", str(invalid), record.traceback))

    @staticmethod
    def _misfit(run: Run) -> bool:
        """The arguments do not fit the signature, so no further attempt can help."""
        if run.instance is not None or run.job.step == Step.FAILED_HOOK:
            return False
        return not run.definition.fits(run.arguments)

    def _retry_after(self, run: Run, error: BaseException) -> float | None:
        """The job's own wish in seconds, or None."""
        method = run.instance.retry_after if run.instance is not None else run.definition.retry_method
        try:
            if isinstance(error, RetryLater) and error.after is not None:
                return seconds(error.after, "RetryLater(after)")
            if run.job.step == Step.FAILED_HOOK or run.definition.retry_method is None:
                return None
            if method is None or (run.definition.is_class and run.instance is None):
                return None  # its own __init__ raised: there is nothing to ask
            return seconds(method(run.job.attempt), "what retry_after returned")
        except TimeLimitExceeded:
            raise
        except BaseException as failure:  # noqa: BLE001 - user code may raise anything; the job's own end counts
            record = describe(failure)
            self._note("job.retry_after_failed", run.context.token, {"error": f"{record.kind}: {record.message}"[:500]})
            return None


def describe(error: BaseException) -> ErrorRecord:
    """An exception in strings, whatever its own methods do."""
    try:
        if isinstance(error, MemoryError):
            traceback.clear_frames(error.__traceback__)  # what filled the memory mostly hangs there
        return error_record(type(error).__name__, _message(error), _traceback(error))
    except MemoryError:
        return _OUT_OF_MEMORY


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except MemoryError:
        raise
    except BaseException as failure:  # noqa: BLE001 - a __str__ of user code may raise anything
        return f"<its __str__ raised {type(failure).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__)
        _leave_ours_out(shown)
        return "".join(shown.format())
    except MemoryError:
        raise
    except BaseException as failure:  # noqa: BLE001 - as in _message
        return f"<the traceback can't be shown: {type(failure).__name__}>"


def _leave_ours_out(shown: traceback.TracebackException) -> None:
    """Leave the executor's own frames out, in what caused it too."""
    part: traceback.TracebackException | None = shown
    for _ in range(_CHAIN_MAX):
        if part is None:
            return
        theirs = [
            frame for frame in part.stack if frame.filename != _REGISTRY and not frame.filename.startswith(_OURS)
        ]
        part.stack = traceback.StackSummary.from_list(theirs)
        part = part.__cause__ or part.__context__

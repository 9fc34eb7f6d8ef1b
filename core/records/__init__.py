"""The values that pass between the parts: what a job, a token, a session, an assignment is.

Durations are seconds (float) and end in `_s`; instants are milliseconds of the store's clock since 1970 (int) and end
in `_ms`. Values that are made once per job on the hot path are NamedTuples (half the cost of a frozen dataclass).
"""

from __future__ import annotations

from callboard.core.records.jobs import (
    Backoff,
    ErrorRecord,
    FinishReceipt,
    Held,
    JobState,
    NewJob,
    Outcome,
    OutcomeKind,
    PushReceipt,
    Step,
    TakenJob,
    Token,
)
from callboard.core.records.nodes import (
    Assignment,
    AssignReceipt,
    BeatReply,
    CancelRequest,
    Desired,
    IsolatedAssignment,
    IsolatedJob,
    NodeInfo,
    Plan,
    PoolReport,
    PoolView,
    Promoted,
    QueueShare,
    Released,
    SessionId,
    SessionView,
    Survey,
)
from callboard.core.records.operators import (
    CancelResult,
    Characteristics,
    FenceView,
    JobRecord,
    QueueCounts,
    ScheduleRow,
)
from callboard.core.records.terms import (
    Epoch,
    LockToken,
    Term,
    TermClaim,
)

__all__ = [
    "AssignReceipt",
    "Assignment",
    "Backoff",
    "BeatReply",
    "CancelRequest",
    "CancelResult",
    "Characteristics",
    "Desired",
    "Epoch",
    "ErrorRecord",
    "FenceView",
    "FinishReceipt",
    "Held",
    "IsolatedAssignment",
    "IsolatedJob",
    "JobRecord",
    "JobState",
    "LockToken",
    "NewJob",
    "NodeInfo",
    "Outcome",
    "OutcomeKind",
    "Plan",
    "PoolReport",
    "PoolView",
    "Promoted",
    "PushReceipt",
    "QueueCounts",
    "QueueShare",
    "Released",
    "ScheduleRow",
    "SessionId",
    "SessionView",
    "Step",
    "Survey",
    "TakenJob",
    "Term",
    "TermClaim",
    "Token",
]

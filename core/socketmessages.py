"""Messages that only a node's socket serves, from what the node knows without asking an actor."""

from __future__ import annotations

from typing import Final

from callboard.core.messages import Message, message
from callboard.core.runs import JobSpec

JOBS_PAGE_MAX: Final = 100
"""Jobs in one answer to AskJobs."""


@message(94)
class AskJobs(Message):
    """Ask a node which jobs its app defines; answered with KnownJobs.

    Attributes:
        name: one job only; empty means all, by name.
        after: all that come behind this name: pages on.
    """

    name: str = ""
    after: str = ""


@message(95)
class KnownJobs(Message):
    """What a node knows of its jobs.

    Attributes:
        more: another page follows the last one's name.
        near: " (did you mean ...)" for a name that is not known.
    """

    jobs: tuple[JobSpec, ...]
    more: bool = False
    near: str = ""

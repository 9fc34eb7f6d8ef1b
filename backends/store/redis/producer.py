"""Pushing, and the store's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.errors import InvalidArgument, PushOutcomeUnknown
from callboard.core.records import PushReceipt

from .link import Sent
from .part import Part
from .rows import pack_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import NewJob

PUSH_MAX_BYTES = 256 << 20
"""Limit of one push; the server's own limit of one argument is 512 MiB."""


class ProducerPart(Part):
    """`callboard.core.ports.Producer`."""

    def push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        """See the port; durable as far as the server's `appendfsync` says."""
        if not jobs:
            return PushReceipt((), 0, rang=False)
        if sum(len(job.body) for job in jobs) > PUSH_MAX_BYTES:
            raise InvalidArgument(f"one push carries at most {PUSH_MAX_BYTES >> 20} MiB; push in parts")
        try:
            ids, new, rang = self._call("push", pack_jobs(jobs), self._options.queue_max_jobs)
        except Sent as error:
            raise PushOutcomeUnknown(
                f"{error}; whether the push was carried out is unknown: push again under the same ids, which makes no "
                "duplicates", tuple(job.id for job in jobs), cause=error) from error
        return PushReceipt(tuple(one.decode() for one in ids), new, rang=rang)

    def store_now_ms(self) -> int:
        """See the port: the server's clock."""
        (now_ms,) = self._call("now")
        return int(now_ms)

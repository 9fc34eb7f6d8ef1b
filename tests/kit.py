"""What tests share: `require` for what a machine may lack, `eventually` for what happens in another process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
_POLL_S = 0.01


def in_ci() -> bool:
    """Whether this is CI, where everything that a test needs must be there."""
    return os.environ.get("CI") == "true"


def require(condition: object, reason: str) -> None:
    """Go on if the machine has what the test needs; else skip with the reason, or fail with it under CI=true."""
    if condition:
        return
    if in_ci():
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def eventually(predicate: Callable[[], T], deadline_s: float, what: str) -> T:
    """Call predicate until it returns something true, and return that.

    The one place that polls: for what no event of this process tells, such as another process's death or row. Within
    a process, wait for the event itself (`threading.Event.wait`, `queue.get` with a timeout).

    Raises:
        AssertionError: Raised when it is still false after deadline_s; names `what` and the last value.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {deadline_s} s: {what} (last: {value!r})")
        time.sleep(_POLL_S)

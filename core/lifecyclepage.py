"""docs/lifecycle.md, drawn from the table of `core/lifecycle.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.lifecycle import Charge, rows
from callboard.core.records import JobState, Step

if TYPE_CHECKING:
    from callboard.core.lifecycle import Row

_HEAD = """# A job's life

Drawn from the table in `core/lifecycle.py` by `make docs`; every store follows it. What is not in the table does not
happen: the store refuses the act, or leaves the job alone. `delayed` stands for `ready` where the delay is 0.

- **attempt**: an end by the job's own doing. **loss**: its node died under it. Both are bounded.
- **token**: issued at an assignment, retired when the job leaves the node; it is never used again.
- **failed()**: a job that fails for good and defines `failed()` goes round once more for it.
"""


def document() -> str:
    """The page."""
    head = ["| state | event | next | charges | token |", "|---|---|---|---|---|"]
    lines = [_HEAD, "```mermaid", "stateDiagram-v2", *_arrows(), "```", "", *head]
    for row in rows():
        then = row.then
        charge = "" if then.charge is Charge.NOTHING else then.charge.name.lower()
        hook = ", then failed()" if then.step is Step.FAILED_HOOK else ""
        lines.append(f"| {_name(row)} | {row.event.name.lower()} | {then.to.name.lower()}{hook} | {charge} | "
                     f"{then.token.name.lower()} |")
    return "\n".join(lines) + "\n"


def _name(row: Row) -> str:
    state = "(pushed)" if row.state is None else row.state.name.lower()
    return f"{state}, failed()" if row.step is Step.FAILED_HOOK else state


def _arrows() -> list[str]:
    """One arrow for each pair of states, with the events that lead along it."""
    events: dict[tuple[JobState | None, JobState], list[str]] = {}
    for row in rows():
        if row.step is Step.HANDLE and row.then.to is not row.state:
            events.setdefault((row.state, row.then.to), []).append(row.event.name.lower())
    return [f"    {'[*]' if start is None else start.name.lower()} --> {end.name.lower()}: {', '.join(names)}"
            for (start, end), names in events.items()]

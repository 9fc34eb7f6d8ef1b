"""For all tests: nothing may be left behind; Hypothesis's settings."""

from __future__ import annotations

import os
import signal
import sys
import uuid
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import hypothesis
import leftovers
import pytest
from kit import ROOT, eventually, in_ci

if TYPE_CHECKING:
    from collections.abc import Iterator

_END_S = 5.0  # for processes that are on their way out when the last test ends

# No deadline: a shared machine stalls now and then. In CI the same examples each time, so that a red run is the
# change's doing; elsewhere new ones, and a failure prints what reproduces it.
hypothesis.settings.register_profile("callboard", deadline=None, print_blob=True, derandomize=in_ci())
hypothesis.settings.load_profile("callboard")


# A shell that starts a run in the background has it ignore SIGINT, and so would all that the tests start: those that
# press Ctrl-C need it as a person has it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured: a report's property `figures`, which also comes from workers of xdist."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    figures = [text for report in reports for name, text in report.user_properties if name == "figures"]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(figures))


@pytest.fixture(scope="session")
def ci() -> bool:
    """Whether this is CI."""
    return in_ci()


@pytest.fixture(scope="session", autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fail the run (as an error of its last test) if it leaves a process, or under CI a file in the work tree.

    Elsewhere a new file only warns: the person at the keyboard may have written it.
    """
    mark = uuid.uuid4().hex
    os.environ[leftovers.MARK] = mark
    before = leftovers.files(ROOT)
    yield
    with suppress(AssertionError):
        eventually(lambda: not leftovers.processes(mark), _END_S, "all processes of the tests have ended")
    if left := leftovers.processes(mark):
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        pytest.fail("the tests left processes (killed now):\n" + "\n".join(map(str, left)), pytrace=False)
    if new := sorted(leftovers.files(ROOT) - before):
        message = "the tests left files in the work tree:\n" + "\n".join(new)
        if in_ci():
            pytest.fail(message, pytrace=False)
        warnings.warn(message, stacklevel=1)


@pytest.fixture(scope="session", autouse=True)
def _shared_servers_end(_nothing_left: None) -> Iterator[None]:
    """End the servers that tests shared, before the look at what is left."""
    yield
    if shared := sys.modules.get("servers.shared"):  # only if some test used it
        shared.close()

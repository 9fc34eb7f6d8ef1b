"""Importing the user's app into this process, for commands that need to know its jobs."""

from __future__ import annotations

import sys
import traceback
from contextlib import redirect_stdout
from typing import Final

from callboard.backends.executors.app import import_app
from callboard.core.errors import AppImportFailed

TRACE_CHARS: Final = 4_000
"""The end of a traceback that is kept."""

def import_jobs(app: tuple[str, ...]) -> None:
    """Import the modules that define the jobs; what they print goes to standard error.

    Raises:
        AppImportFailed: Raised when one can't be imported.
    """
    with redirect_stdout(sys.stderr):
        try:
            import_app(app, ())
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            trace = "".join(traceback.format_exception(error))[-TRACE_CHARS:]
            raise AppImportFailed(f"the app {' '.join(app)} can't be imported: {type(error).__name__}: "
                                  f"{' '.join(str(error).split())}\n{trace}", cause=error) from error

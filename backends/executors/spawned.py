"""A child that was executed afresh, because the app's import leaves threads that a fork would not carry over."""

from __future__ import annotations

import os
import sys

from callboard.backends.executors.app import import_app
from callboard.backends.executors.child import run_child
from callboard.backends.executors.childbase import ChildSettings
from callboard.backends.executors.childio import Output
from callboard.backends.executors.wire import FrameReader


def main() -> None:
    """Read the settings from stdin, import the app, be a child."""
    ((_, app, path, ident, settings, fds, template),) = FrameReader().feed(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    output = Output()
    output.install()
    import_app(app, path)
    for fd in fds:
        os.set_inheritable(fd, False)  # noqa: FBT003 - the system's function takes it so
    run_child(fds, ident, ChildSettings.of(settings), output, template)


if __name__ == "__main__":
    main()

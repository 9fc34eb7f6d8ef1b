"""Raising TimeLimitExceeded in a thread that runs a job: in that job, or not at all."""

from __future__ import annotations

import ctypes
import threading
from typing import Final

from callboard.core.errors import TimeLimitExceeded

_set_async_exc: Final = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_async_exc.restype = ctypes.c_int
_CLEAR: Final = ctypes.py_object()
"""NULL: takes back what was not raised yet."""


class Target:
    """A thread that runs one job at a time. It arms the target around user code; another thread strikes."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._lock = threading.Lock()
        self._thread = 0
        self._armed = 0
        self._struck = False

    def arm(self, index: int) -> None:
        """User code of this job begins, in the calling thread: from now on TimeLimitExceeded may come at any step."""
        self._thread = threading.get_ident()
        self._armed = index

    def disarm(self) -> None:
        """User code has ended: nothing comes any more, unless out of this call: repeat it then."""
        while True:
            try:
                with self._lock:
                    self._armed = 0
                if self._struck:
                    _set_async_exc(self._thread, _CLEAR)
                    self._struck = False
            except TimeLimitExceeded:
                continue  # it struck here; the second turn finds nothing more
            return

    def strike(self, index: int) -> bool:
        """Raise it, if the thread runs this job now; whether it does. It comes with the next step in Python."""
        with self._lock:
            if not index or self._armed != index or self._struck:
                return False
            self._struck = True
            return bool(_set_async_exc(self._thread, ctypes.py_object(TimeLimitExceeded)))

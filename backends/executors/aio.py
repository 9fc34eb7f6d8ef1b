"""One event loop for the async jobs of a thread, kept from job to job, so that their connections can be kept too."""

from __future__ import annotations

import contextlib
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from callboard.core.errors import TimeLimitExceeded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable


class AsyncRunner:
    """Awaits one thing at a time."""

    def __init__(self) -> None:
        """The loop is made for the first async job."""
        self._runner: asyncio.Runner | None = None
        self._task: asyncio.Task[Any] | None = None
        self._limited: str | None = None

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Await it in a copy of the context; what it returns.

        Raises what it raises, or TimeLimitExceeded where `cancel` stopped it.
        """
        import asyncio  # noqa: PLC0415 - costs 40 ms, and most apps have no async job

        if self._runner is None:
            self._runner = asyncio.Runner()
        self._limited = None
        finished = False
        try:
            result, error = self._runner.run(self._await(awaitable), context=copy_context())
            finished = True
        finally:
            self._task = None
            if not finished:
                self.close()  # something tore the loop's own code apart
        if isinstance(error, asyncio.CancelledError) and self._limited is not None:
            raise TimeLimitExceeded(self._limited) from error
        if error is not None:
            raise error
        return result

    async def _await(self, awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
        import asyncio  # noqa: PLC0415 - as above

        self._task = asyncio.current_task()
        try:
            return await awaitable, None
        except BaseException as error:  # noqa: BLE001 - a SystemExit must not end the loop; it is raised by run()
            return None, error

    def cancel(self, message: str, *, only_waiting: bool) -> bool:
        """Stop what is awaited, from a signal handler or another thread.

        Args:
            message: of the TimeLimitExceeded.
            only_waiting: do nothing while the job's own code is being executed.

        Returns:
            Whether there was something to be stopped.
        """
        task = self._task
        if task is None:
            return False
        import asyncio  # noqa: PLC0415 - as above

        loop = task.get_loop()
        if only_waiting and asyncio.current_task(loop) is not None:
            return False
        self._limited = message
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: the job has ended
            loop.call_soon_threadsafe(task.cancel)
        return True

    def close(self) -> None:
        """End the loop and what it still runs."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

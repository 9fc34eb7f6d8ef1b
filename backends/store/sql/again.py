"""Acts that are tried again where others were in their way."""

from __future__ import annotations

import random
import time
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from .errors import Clash

if TYPE_CHECKING:
    from collections.abc import Callable

_S = TypeVar("_S")
_P = ParamSpec("_P")
_R = TypeVar("_R")
_CLASHES_MAX: Final = 5
_PAUSE_S: Final = 0.02


def again(act: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """An act that is one transaction, tried again a few times where others were in its way."""

    @wraps(act)
    def tried(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        for clashes in range(1, _CLASHES_MAX):
            try:
                return act(self, *args, **kwargs)
            except Clash:
                time.sleep(random.uniform(0, _PAUSE_S * clashes))  # noqa: S311 - jitter, no secret
        return act(self, *args, **kwargs)

    return tried

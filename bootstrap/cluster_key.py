"""The cluster's key for programs, which have no settings' file: from the environment alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from callboard.config_file import read_secret
from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "CALLBOARD_CLUSTER_KEY"
FILE_VARIABLE: Final = "CALLBOARD_CLUSTER_KEY_FILE"


def key_of_environment(environ: Mapping[str, str] | None = None) -> str:
    """CALLBOARD_CLUSTER_KEY, or the line in the file that CALLBOARD_CLUSTER_KEY_FILE names; empty without both.

    Raises:
        InvalidArgument: Raised when both are set, or the file can't be read or others may read it.
    """
    found = os.environ if environ is None else environ
    key, path = found.get(VARIABLE, ""), found.get(FILE_VARIABLE, "")
    if key and path:
        raise InvalidArgument(f"{VARIABLE} and {FILE_VARIABLE} are both set: keep one of them")
    return read_secret(Path(path), FILE_VARIABLE) if path else key

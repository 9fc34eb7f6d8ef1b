"""The installed version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def callboard_version() -> str:
    """The installed version; "0" in a checkout that is not installed."""
    try:
        return version("callboard")
    except PackageNotFoundError:
        return "0"

"""Text from elsewhere, so that it can't steer the terminal it is shown on."""

from __future__ import annotations


def printable(value: object) -> str:
    """A value as text; control characters (escape sequences begin with one) are shown escaped."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

"""Makes the pages of docs/ that are drawn from the code; a test of each says when it is out of date."""

from __future__ import annotations

from pathlib import Path

from callboard.cli.reference import cli_page, settings_page
from callboard.core.events import catalogue_page
from callboard.core.lifecyclepage import document

HERE = Path(__file__).parent
PAGES = {"cli.md": cli_page, "events.md": catalogue_page, "lifecycle.md": document, "settings.md": settings_page}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page())


if __name__ == "__main__":
    main()

"""The command `callboard`, also as `python -m callboard`."""

from __future__ import annotations

from callboard.cli.main import main

if __name__ == "__main__":
    main()

"""Importing the user's app: the one import by a name, and that name comes from the command line or the program."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT_NAME: Final = "__callboard_main__"
"""`__name__` of a script that is given by its path: not `__main__`, so its guarded part does not run."""


def import_app(app: Sequence[str], path: Sequence[str]) -> None:
    """Import modules, and scripts whose path ends in .py; whatever they raise is raised.

    Args:
        app: "package.module" or "path/to/script.py".
        path: folders to look in behind the working directory and this interpreter's own.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    sys.path.extend(folder for folder in path if folder and folder not in sys.path)
    for number, name in enumerate(app):
        if name.endswith(".py"):
            _run_script(Path(name), SCRIPT_NAME if number == 0 else f"{SCRIPT_NAME}{number + 1}")
        else:
            importlib.import_module(name)


def _run_script(file: Path, name: str) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {str(file)!r}")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{str(file)!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)

"""The wheel that users install: everything of callboard is in it, nothing else, and it works without this tree."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from kit import ROOT, require
from packaging.version import Version

FOLDERS = {"bootstrap": "callboard"} | {name: f"callboard/{name}" for name in ("core", "backends", "actors")}
# Migrations are scripts that Alembic runs, not modules to import.
IMPORT_ALL = """
import importlib, pkgutil, callboard
assert not callboard.__file__.startswith({tree!r}), callboard.__file__
names = [m.name for m in pkgutil.walk_packages(callboard.__path__, "callboard.") if ".migrations" not in m.name]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no old build directory gets in and none is left here."""
    require(Version(importlib.metadata.version("setuptools")) >= Version("77"), "the build backend (make install)")
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an empty virtual environment with the wheel; the dependencies are this environment's, by path."""
    where = tmp_path_factory.mktemp("venv")
    venv.create(where, with_pip=False)
    python = where / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True, timeout=110)
    # A path that a .pth adds is not searched for more .pth files, so the tree itself (linked by one) is not seen.
    site = sysconfig.get_path("purelib", "venv", {"base": str(where)})
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_all_files_of_the_folders_are_in_it_and_nothing_else(wheel: Path) -> None:
    expected = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    assert names - metadata == expected
    assert "callboard/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in metadata)


def test_every_module_can_be_imported(python: Path, tmp_path: Path) -> None:
    command = [str(python), "-c", IMPORT_ALL.format(tree=str(ROOT))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_the_command_is_there(python: Path, tmp_path: Path) -> None:
    for command in ([python.with_name("callboard")], [python, "-m", "callboard"]):
        asked = [*map(str, command), "--help"]
        done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "node" in done.stdout

"""setup.cfg, the lock files and the tree agree."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import PurePosixPath

import pytest
from kit import ROOT
from packaging.requirements import Requirement

FOLDERS = {"bootstrap": "callboard"} | {name: f"callboard.{name}" for name in ("core", "backends", "actors")}
LOCKS = ("base", "dev", "audit")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def pins(lock: str) -> dict[str, str]:
    """Name to version, as pinned."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))


def test_setup_cfg_names_each_folder_with_code(setup_cfg: configparser.ConfigParser) -> None:
    there = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            inner = PurePosixPath(path.parent.relative_to(ROOT / folder))
            there.add(".".join([package, *inner.parts]))
    assert set(setup_cfg["options"]["packages"].split()) == there


def test_each_dependency_is_pinned_within_its_bounds(setup_cfg: configparser.ConfigParser) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        build = tomllib.load(file)["build-system"]["requires"]
    locked = pins("base")
    for line in [*setup_cfg["options"]["install_requires"].split(), *build]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[wanted.name.lower()]), f"{line}: `make lock` is due"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_names_no_host(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    assert len(pins(lock)) == len(re.findall(r"^[^\s#]", text, re.MULTILINE))  # no line but `name==version \`
    assert len(re.findall(r"^\S.*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)) == len(pins(lock))
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash)", text, re.MULTILINE)  # no option: no index, no host


def test_the_locks_agree_where_both_name_a_package() -> None:
    base, dev = pins("base"), pins("dev")
    assert {name: dev[name] for name in base.keys() & dev.keys()} == {
        name: base[name] for name in base.keys() & dev.keys()
    }


@pytest.mark.parametrize("name", [p.stem for p in sorted((ROOT / "requirements").glob("*.in"))])
def test_each_tool_is_pinned(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.in").read_text().splitlines()
    wanted = [Requirement(line.partition("#")[0]).name for line in lines if line.partition("#")[0].strip()]
    assert set(wanted) <= pins(name).keys(), "`make lock` is due"

"""examples/deployment: the commands in the files exist, and each leaves a node the time that its stop may take."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from kit import ROOT, require

from callboard.actors.supervisor import STOP_MARGIN_S
from callboard.cli.main import cli
from callboard.core.config import STOP_GRACE_S
from callboard.node import ACTOR_STOP_S

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "examples" / "deployment"
STOP_S = STOP_GRACE_S + 2 * STOP_MARGIN_S + ACTOR_STOP_S
"""The longest that a node's stop takes: what runs, the Workers, the session, the actors."""


def parsed(words: list[str]) -> tuple[str, dict]:
    """The command's name and its settings, as the command line reads them. Raises click.UsageError."""
    name, *rest = words
    parent = click.Context(cli, **cli.context_settings)  # commands keep what they made of it, such as -h
    command = cli.get_command(parent, name)
    assert command is not None, f"there is no callboard {name}"
    return name, command.make_context(name, rest, parent=parent).params


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(FOLDER / "callboard.service")
    return parser


def manifest() -> str:
    return (FOLDER / "kubernetes.yaml").read_text()


def shell_commands() -> list[list[str]]:
    """What `sh -c` is given in the manifest."""
    found = [json.loads(text) for text in re.findall(r"^\s*command: (\[.*\])$", manifest(), re.MULTILINE)]
    assert all(words[:2] == ["sh", "-c"] and len(words) == 3 for words in found)
    return [shlex.split(words[2].replace("$POD_NAME", "callboard-0")) for words in found]


def test_the_unit_s_command_and_its_times():
    service = unit()["Service"]
    program, *words = shlex.split(service["ExecStart"].replace("%H", "host"))
    assert program.endswith("/callboard")
    name, params = parsed(words)
    assert (name, params["node_id"], float(params["stop_grace"])) == ("node", "host", STOP_GRACE_S)
    assert float(service["TimeoutStopSec"]) >= STOP_S
    assert service["KillMode"] == "mixed", "SIGTERM for every process of the unit would strike the jobs"


def test_systemd_takes_the_unit(tmp_path: Path):
    require(shutil.which("systemd-analyze"), "systemd-analyze")
    text = (FOLDER / "callboard.service").read_text()
    copy = tmp_path / "callboard.service"
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", text))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True,
                          timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if "callboard" in line]
    assert ours == []
    copy.write_text(text.replace("KillMode=mixed", "KillMod=mixed"))
    again = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True,
                           timeout=60, check=False)
    assert "KillMod" in again.stderr, "it reads the file"


def test_the_container_s_command_is_the_node_itself():
    lines = dict(line.split(" ", 1) for line in (FOLDER / "Containerfile").read_text().splitlines()
                 if line.startswith(("ENTRYPOINT", "CMD", "USER", "STOPSIGNAL")))
    assert json.loads(lines["ENTRYPOINT"]) == ["callboard"]
    name, params = parsed(json.loads(lines["CMD"]))
    assert (name, float(params["stop_grace"])) == ("node", STOP_GRACE_S)
    assert lines["USER"] != "root"
    assert lines["STOPSIGNAL"] == "SIGTERM"


def test_the_pods_drain_first_and_have_the_time_of_a_stop():
    (args,) = (json.loads(text) for text in re.findall(r"^\s*args: (\[.*\])$", manifest(), re.MULTILINE))
    name, params = parsed(args)
    assert (name, params["node_id"], float(params["stop_grace"])) == ("node", "$(POD_NAME)", STOP_GRACE_S)
    undrain, drain = shell_commands()
    assert (undrain[0], drain[0]) == ("callboard", "callboard")
    assert parsed(undrain[1:]) == ("drain", parsed(drain[1:])[1] | {"off": True})
    assert parsed(drain[1:])[1]["node"] == "callboard-0"
    (seconds,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", manifest())
    assert int(seconds) >= STOP_S + 5, "the drain takes of it, too"
    assert re.search(r"preStop:\n\s+exec:\n(\s+#.*\n)*\s+command:", manifest())


def test_the_manifest_is_indented_by_twos_and_ends_what_it_begins():
    """No parser of YAML is among the locked packages: what breaks one most often is looked for."""
    for number, line in enumerate(manifest().splitlines(), 1):
        assert "\t" not in line, number
        assert (len(line) - len(line.lstrip(" "))) % 2 == 0, number
        assert not line.rstrip() or re.match(r"\s*(#|---|- |[\w./-]+:( |$))", line), f"{number}: {line}"
    assert manifest().count("kind: ") == manifest().count("apiVersion: ") == manifest().count("---") + 1
    anchors, aliases = re.findall(r"&(\w+)", manifest()), re.findall(r"\*(\w+)", manifest())
    assert set(aliases) == set(anchors)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_file_holds_a_password(path: Path):
    assert not re.search(r"://[^\s/]*:[^\s/]*@", path.read_text())

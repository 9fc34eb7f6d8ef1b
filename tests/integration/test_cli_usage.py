"""Whoever calls it wrongly gets one line that names the thing and the remedy, and exit code 2."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import click
import pytest
from clikit import JOBS
from test_import_light import HEAVY

from callboard.cli.main import COMMANDS, cli, run

MISUSE = {
    "unknown command": (["stauts"], "no command 'stauts' (did you mean 'status'?); see callboard --help"),
    "unknown subcommand": (["failed", "lst"], "no command 'lst' (did you mean 'list'?); see callboard failed --help"),
    "unknown option": (["push", "x", "--quue", "y"], "no option '--quue' (did you mean '--queue'?); see callboard pu"),
    "unknown option of a subcommand": (["failed", "list", "--jsn"], "(did you mean '--json'?); see callboard failed l"),
    "missing argument": (["push"], "missing argument 'NAME'; see callboard push --help"),
    "too many arguments": (["pause", "a", "b"], "unexpected extra argument (b); see callboard pause --help"),
    "option without value": (["push", "x", "--queue"], "option '--queue' requires an argument"),
    "no number": (["scale", "emails", "many"], "'many' is not a valid integer"),
    "no app": (["node"], "callboard node --app myapp.jobs"),
    "app not there": (["node", "--app", "nosuchapp"], "ModuleNotFoundError: No module named 'nosuchapp'"),
    "app not there to push": (["push", "x", "--app", "nosuchapp"], "ModuleNotFoundError: No module named 'nosuchapp'"),
    "app that raises": (["push", "x", "--app", "broken.py"], "ZeroDivisionError: division by zero at "),
    "app that raises in a node": (["node", "--app", "broken.py"], "broken.py:1 "),
    "unknown executor": (["node", "--app", "shop", "--executor", "proces"], "'proces' (did you mean 'process'?)"),
    "unknown level": (["node", "--app", "shop", "--log-level", "inof"], "(did you mean 'info'?)"),
    "queue without slots": (["node", "--app", "shop", "--queue", "emails:ten"], "behind the colon stands a number"),
    "queue twice": (["node", "--app", "shop", "--queue", "a:1", "--queue", "a:2"], "served twice"),
    "bad queue name": (["node", "--app", "shop", "--queue", "a b:1"], "queue must be 1 to 200 letters"),
    "too many slots": (["node", "--app", "shop", "--queue", "a:1001"], "slots must be a whole number"),
    "lease too short": (["node", "--app", "shop", "--lease-ttl", "0.1"], "lease_ttl_s must be 0.5 to 3600 seconds"),
    "how long, and no key": (["push", "x", "--unique-for", "5"], "go with --unique KEY"),
    "once or twice": (["push", "send_email", "--arg", "to=x", "--app", "shop", "--at-most-once", "--max-attempts=2"],
                      "max_attempts=2 contradicts at_most_once"),
    "no seconds": (["node", "--app", "shop", "--timeout", "5m"], "--timeout must be a number, not '5m'"),
    "attempts out of range": (["node", "--app", "shop", "--max-attempts", "0"], "--max-attempts must be a whole"),
    "log file not writable": (["node", "--app", "shop", "--log-file", "no/such/dir.log"], "can't be written"),
    "unknown store": (["status", "--store", "sqlit:///x.db"], "no store address (did you mean 'sqlite'?)"),
    "cluster as a store": (["status", "--store", "zookeeper://localhost"], "keeps no jobs"),
    "store without a file": (["status", "--store", "sqlite://"], "names no file"),
    "memory store": (["status", "--store", "memory://"], "lives within one process"),
    "password in a flag": (["status", "--store", "postgresql://u:hunter2@h/db"], "--store carries a password"),
    "password in a parameter": (["status", "--store", "redis://h?password=hunter2"], "--store carries a password"),
    "unknown cluster": (["status", "--cluster", "raft://x"], "is no cluster address"),
    "unknown job": (["push", "send_emial", "--app", "shop"], "(did you mean 'send_email'?)"),
    "unknown job, no app and no store": (["push", "x", "--store", "sqlite:///none.db"], "(--app), or start a node"),
    "unknown argument": (["push", "send_email", "--arg", "too=x", "--app", "shop"], "'too' (did you mean 'to'?)"),
    "missing job argument": (["push", "send_email", "--app", "shop"], "needs to; it takes to, n"),
    "argument without =": (["push", "send_email", "--arg", "to", "--app", "shop"], "must be NAME=VALUE"),
    "argument twice": (["push", "send_email", "--arg", "to=a", "--arg", "to=b", "--app", "shop"], "gives 'to' twice"),
    "argument both ways": (["push", "x", "--arg", "to=a", "--arg-json", "to=1", "--app", "shop"], "both give 'to'"),
    "no JSON": (["push", "x", "--arg-json", "n=three", "--app", "shop"], "'three' is no JSON"),
    "priority out of range": (["push", "send_email", "--arg", "to=x", "--priority", "101", "--app", "shop"], "pri"),
    "negative delay": (["push", "send_email", "--arg", "to=x", "--in", "-5", "--app", "shop"], "delay must be 0 to"),
    "bad id": (["push", "send_email", "--arg", "to=x", "--id", "a b", "--app", "shop"], "id must be 1 to 200"),
    "slots negative": (["scale", "emails", "--store", "sqlite:///jobs.db", "--", "-1"], "slots must be a whole number"),
    "total and node": (["scale", "emails", "5", "--total", "--node", "n1"], "leave --node out"),
    "bad queue to pause": (["pause", "a b", "--store", "sqlite:///jobs.db"], "queue must be 1 to 200"),
    "bad level to see": (["events", "--level", "inof"], "see callboard events --help"),
    "limit out of range": (["failed", "list", "--limit", "5000"], "see callboard failed list --help"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with an app and a store."""
    monkeypatch.chdir(tmp_path)
    for name in ("CALLBOARD_STORE", "CALLBOARD_APP", "CALLBOARD_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "shop.py").write_text(JOBS)
    (tmp_path / "broken.py").write_text("1 / 0")
    return tmp_path


def called(*args: str) -> subprocess.CompletedProcess[str]:
    """Run a command: in this process, which is quick, unless it imports an app."""
    if "--app" not in args:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(args)
        return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())
    return subprocess.run([sys.executable, "-m", "callboard", *args], capture_output=True, text=True, timeout=60,
                          check=False)


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_one_line_and_exit_code_2(name, folder):
    args, said = MISUSE[name]
    if "jobs.db" in str(args):
        assert called("push", "boom", "--app", "shop", "--store", "sqlite:///jobs.db").returncode == 0
    before = sorted(folder.iterdir())
    done = called(*args)
    apart = [line for line in done.stderr.splitlines() if line != "the app prints when it is imported"
             and not line.startswith('{"time"')]  # a node's events
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert len(apart) == 1, done.stderr
    assert apart[0].startswith("callboard")
    assert said in apart[0]
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
    assert [p for p in sorted(folder.iterdir()) if p.suffix == ".db"] == [p for p in before if p.suffix == ".db"] or (
        "--app" in args)  # whoever only looks makes no store


def test_a_store_that_is_not_there_is_exit_code_3(folder):
    for args in (["status"], ["pause", "q"], ["failed", "list"], ["events"], ["purge", "q"], ["schedule", "list"]):
        done = called(*args)
        assert done.returncode == 3, done
        assert len(done.stderr.splitlines()) == 1
        assert "start a node or push a job first" in done.stderr
    assert not list(folder.glob("*.db"))


def test_a_file_that_is_no_store_is_exit_code_1(folder):
    (folder / "callboard.db").write_bytes(b"this is no database, but something precious" * 100)
    done = called("status")
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1


def all_commands(group: click.Group, path: tuple[str, ...] = ()):
    """Every command and group, with its path."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), [pytest.param(p, c, id=" ".join(p)) for p, c in all_commands(cli)])
def test_every_help_says_what_it_does_shows_an_example_and_the_exit_codes(path, command, capsys):
    assert run([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  callboard {' '.join(path)}" in text
    assert "Exit codes: 0 done, 1 it failed, 2 it was called wrongly" in text
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, f"{path}: {parameter.name} says nothing"


def test_the_table_of_commands_says_what_their_own_help_says():
    for name, place in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == place.short_help or (
            (command.help or "").startswith(place.short_help))


def test_help_alone_and_no_argument_show_the_commands(capsys):
    for args in ([], ["--help"], ["-h"]):
        assert run(args) == 0
        assert "Show nodes, leader, queues" in capsys.readouterr().out
    assert run(["failed"]) == 0
    assert "callboard failed retry ID" in capsys.readouterr().out


def test_help_loads_nothing_heavy():
    program = ("import sys; from callboard.cli.main import run; run(['--help']); "
               "print(*sys.modules, file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded & (HEAVY | {"pykka", "structlog", "msgspec"}) <= {"click"}
    assert not {name for name in done.stderr.split() if name.startswith("callboard.a")}


def test_the_version_is_told(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("callboard ")


def test_no_colours_where_no_terminal_is(folder):
    done = subprocess.run([sys.executable, "-m", "callboard", "stauts"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr

"""The template process: importing the app, dying, and never leaving anything behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from executor_kit import APP, CLOCK, DEADLINE_S, alive, lines, pids, running
from kit import eventually

from callboard.backends.executors.host import TemplateHost
from callboard.backends.executors.options import ExecutorOptions
from callboard.core.errors import AppImportFailed, UnknownOption
from callboard.core.runs import EndKind

PROGRAM = Path(__file__).with_name("executor_host_program.py")
KINDS = ["process", "thread", "asyncio"]


def host_of(*app, kind="process", **options):
    return TemplateHost(app, kind, ExecutorOptions(**options), CLOCK)


def import_error(*app, **options):
    host = host_of(*app, **options)
    with pytest.raises(AppImportFailed) as caught:
        host.start()
    host.stop()
    assert not host.template_pid or not alive(host.template_pid)
    return str(caught.value)


def script(folder, text, name="app.py"):
    file = folder / name
    file.write_text(text)
    return str(file)


def test_the_specs_of_the_app_are_known_after_the_start():
    host = host_of(APP)
    try:
        specs = {spec.name: spec for spec in host.start()}
    finally:
        host.stop()
    assert specs["two_arguments"].fields == ("a", "b", "c")
    assert specs["two_arguments"].required == ("a",)
    assert specs["Failing"].has_failed_hook
    assert not specs["nothing"].has_failed_hook


def test_the_app_may_be_modules_and_scripts(tmp_path, monkeypatch):
    package = tmp_path / "shop"
    package.mkdir()
    script(package, "", "__init__.py")
    script(package, "import callboard\n@callboard.job\ndef sell(): pass\n", "jobs.py")
    script(tmp_path, "import helper\nimport callboard\n@callboard.job\ndef buy(): return helper.X\n"
                     "if __name__ == '__main__':\n    raise SystemExit('the guarded part ran')\n", "main.py")
    script(tmp_path, "X = 1\n", "helper.py")
    monkeypatch.chdir(tmp_path)
    with running("process", app=("shop.jobs", "main.py")) as rig:
        assert rig.kinds([rig.start("sell"), rig.start("buy")]) == [EndKind.COMPLETED] * 2


def test_an_app_that_is_not_there():
    assert "No module named 'no_such_app'" in import_error("no_such_app")
    assert "there is no file 'no/such.py'" in import_error("no/such.py")


def test_an_app_that_raises_shows_the_last_lines_of_why(tmp_path):
    why = import_error(script(tmp_path, "def broken():\n    raise ValueError('the cause')\nbroken()\n"))
    assert "ValueError: the cause" in why
    assert "line 2, in broken" in why


@pytest.mark.parametrize(("text", "why"), [
    ("import sys\nsys.exit('no licence')", "SystemExit: no licence"),
    ("def f(:", "SyntaxError"),
    ("print('last words', flush=True)\nimport os\nos._exit(3)", "last words"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "its process ended with status -9"),
    ("import callboard as c\n@c.job\ndef f(): pass\n@c.job(name='f')\ndef g(): pass", "two jobs are named 'f'"),
])
def test_an_app_whose_import_ends_the_process(tmp_path, text, why):
    assert why in import_error(script(tmp_path, text))


def test_an_import_that_never_ends(tmp_path):
    why = import_error(script(tmp_path, "import time\ntime.sleep(1000)"), import_timeout_s=0.5)
    assert "took longer than 0.5 s" in why


def test_an_import_that_stops_for_no_signal_is_killed_with_what_it_started(tmp_path):
    path = tmp_path / "pids"
    file = script(tmp_path, "import executor_app, os, signal, subprocess, time\n"
                            "signal.signal(signal.SIGTERM, lambda *_: None)\n"
                            "process = subprocess.Popen(['sleep', '1000'])\n"
                            f"executor_app.note({str(path)!r}, f'{{os.getpid()}}\\n{{process.pid}}')\n"
                            "while True:\n    time.sleep(1)\n")
    host = host_of(file)
    failed = []

    def start():
        try:
            host.start()
        except AppImportFailed as error:
            failed.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    eventually(lambda: len(pids(path)) == 2, DEADLINE_S, "the import runs")
    start_s = CLOCK.boot_s()
    host.stop()
    assert CLOCK.boot_s() - start_s < 8
    starting.join(DEADLINE_S)
    assert failed
    eventually(lambda: not any(alive(pid) for pid in pids(path)), 5, "both are gone")


def test_an_unknown_kind_is_refused():
    with pytest.raises(UnknownOption, match="did you mean 'thread'"):
        host_of(APP, kind="threads")


@pytest.mark.parametrize("kind", KINDS)
def test_an_import_that_leaves_threads_gets_children_that_are_spawned(tmp_path, kind):
    file = script(tmp_path, "import threading, callboard, executor_app\n"
                            "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
                            "@callboard.job\ndef count(path):\n"
                            "    executor_app.note(path, threading.active_count())\n")
    with running(kind, slots=1, app=(file,)) as rig:
        assert rig.run("count", path=str(tmp_path / "threads")).kind == EndKind.COMPLETED
        assert rig.told.of("template.threads")[0].fields == {"threads": 2}
        assert pids(tmp_path / "threads")[0] >= 2  # its own import started one too
        assert rig.run("exits_hard", status=1).kind == EndKind.CHILD_DIED
        assert rig.run("who", path=str(tmp_path / "who")).kind == EndKind.COMPLETED
        pid, session, stdin, _ = lines(tmp_path / "who")[0].split()
        assert (pid, stdin) == (session, "/dev/null")


@pytest.mark.parametrize("kind", KINDS)
def test_children_lead_a_session_read_nothing_and_inherit_nothing(tmp_path, kind):
    with running(kind, slots=3) as rig:
        for _ in range(2):
            rig.run("exits_hard", status=1)
        path = tmp_path / "fds"
        for _ in range(3):
            assert rig.run("descriptors", path=str(path)).kind == EndKind.COMPLETED
        rig.run("who", path=str(tmp_path / "who"))
        pid, session, stdin, name = lines(tmp_path / "who")[0].split()
        assert (pid, stdin, name) == (session, "/dev/null", "__callboard_main__")
        for line in lines(path):
            kinds = sorted(word.partition("=")[2].partition(":")[0] for word in line.split("|"))
            own = [target for target in kinds if target not in ("/dev/null", "pipe", f"/proc/{pid}/fd")]
            assert kinds.count("pipe") == 2  # stdout and stderr
            assert kinds.count("/dev/null") == 1
            sockets = own.count("socket")
            assert sockets == {"process": 1, "thread": 1, "asyncio": 3}[kind]  # a loop has a pair of its own
            assert own.count("/memfd") == 1  # its shared memory
            assert own.count("anon_inode") == {"process": 0, "thread": 1, "asyncio": 1}[kind]  # a bell; a selector
            assert len(own) == sockets + 1 + own.count("anon_inode")


def test_a_program_that_a_job_starts_inherits_nothing_either(tmp_path):
    file = script(tmp_path, "import callboard, subprocess\n@callboard.job\ndef list_fds(path):\n"
                            "    command = ['sh', '-c', f'ls /proc/self/fd > {path}']\n"
                            "    subprocess.run(command, check=True, close_fds=False)\n")
    with running("process", slots=2, app=(file,)) as rig:
        rig.run("list_fds", path=str(tmp_path / "fds"))
    assert set(pids(tmp_path / "fds")) <= {0, 1, 2, 3}  # 3 is the listing itself


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_that_dies_is_started_again_and_no_job_is_lost(kind, tmp_path):
    with running(kind, slots=2) as rig:
        go, started = tmp_path / "go", tmp_path / "started"
        tokens = [rig.start("gate", path=str(go), started=str(started)) for _ in range(2)]
        eventually(lambda: len(pids(started)) == 2, 10, "both run")
        waiting = rig.submit(*(rig.job("nothing") for _ in range(20)))
        children = {run.child_pid for run in rig.pool.running()}
        os.kill(rig.host.template_pid, signal.SIGKILL)
        ended = EndKind.CHILD_DIED if kind == "process" else EndKind.NEIGHBOUR_DIED
        assert rig.kinds(tokens) == [ended] * 2
        assert not any(alive(pid) for pid in children)
        assert rig.kinds(waiting) == [EndKind.COMPLETED] * 20
        assert len(rig.told.of("template.died")) == 1
        assert len(rig.told.of("template.started")) == 2


def test_without_pidfds_the_death_of_a_template_is_seen_too(tmp_path):
    app = script(tmp_path, "import os, executor_app\ndel os.pidfd_open\n")
    with running("process", slots=1, app=(app,)) as rig:
        token = rig.start("gate", path=str(tmp_path / "go"), started=str(tmp_path / "started"))
        (child,) = eventually(lambda: pids(tmp_path / "started"), 10, "it runs")
        assert rig.pool.nursery.links[0].pidfd == -1
        os.kill(rig.host.template_pid, signal.SIGKILL)
        assert rig.end(token).kind == EndKind.CHILD_DIED
        assert not alive(child)
        assert rig.run("nothing").kind == EndKind.COMPLETED


def test_a_job_that_kills_the_template_is_charged():
    with running("process", slots=1) as rig:
        assert rig.run("kills_template").kind == EndKind.CHILD_DIED
        assert rig.run("nothing").kind == EndKind.COMPLETED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["plain", "session", "daemon", "forked-daemon"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_is_killed_leaves_no_process(tmp_path, kind, how, number):
    started = tmp_path / "pids"
    node = subprocess.Popen([sys.executable, str(PROGRAM), kind, str(started), str(tmp_path / "never"), how])
    try:
        (grandchild,) = eventually(lambda: pids(started), DEADLINE_S, "the grandchild runs")
        (template,) = eventually(lambda: pids(f"{started}.host"), DEADLINE_S, "the host has said its template")
        children = eventually(lambda: pids(f"/proc/{template}/task/{template}/children"), 5, "children")
        watched = {pid: os.pidfd_open(pid) for pid in {template, grandchild, *children}}
    finally:
        node.send_signal(number)
        node.wait(DEADLINE_S)
    eventually(lambda: not any(alive(pid) for pid in watched), 5, f"all are gone: {sorted(watched)}")
    for fd in watched.values():
        os.close(fd)


def test_a_host_leaves_no_process_no_descriptor_and_no_thread():
    def once():
        with running("process", slots=3) as rig:
            rig.run("exits_hard", status=1)
            rig.run("nothing")
            template = rig.host.template_pid
        assert not alive(template)
        with pytest.raises(ProcessLookupError):
            os.kill(template, 0)  # it has been reaped too

    once()
    before = ({path.name for path in Path("/proc/self/fd").iterdir()}, threading.active_count())
    once()
    assert ({path.name for path in Path("/proc/self/fd").iterdir()}, threading.active_count()) == before


def test_stopping_a_host_stops_its_pools_and_may_be_repeated(tmp_path):
    with running("process", slots=1) as rig:
        token = rig.start("gate", path=str(tmp_path / "never"), started=str(tmp_path / "started"))
        eventually(lambda: pids(tmp_path / "started"), 10, "it runs")
        rig.host.stop()
        assert rig.told.ends[token].kind == EndKind.INTERRUPTED
        rig.host.stop()


def test_two_pools_share_a_template_and_nothing_else():
    with running("process", slots=1) as rig:
        other_told = type(rig.told)()
        other = rig.host.executor("other", 1)
        other.set_lease(1e8)
        other.start(other_told)
        job = rig.job("nothing")
        other.submit([job])
        other_told.wait(lambda told: job.token in told.ends, "the other pool's end")
        assert job.token not in rig.told.ends
        other.stop(CLOCK.boot_s())
        assert rig.run("nothing").kind == EndKind.COMPLETED

"""S1: the socket is its user's alone; what lies where it should be is never used, and a dead node's is replaced."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from controlkit import receive, serving
from kit import eventually

from callboard.control_socket import ControlSocket, open_control_socket, socket_name
from callboard.core.errors import Conflict, StoreUnavailable, Unavailable
from callboard.core.frames import frame
from callboard.core.messages import Done, PurgeQueue
from callboard.core.socketmessages import AskJobs, KnownJobs
from callboard.link import Link, check_path

NOBODY = 65_534
CONNECT_AS = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
client = socket.socket(socket.AF_UNIX)
client.settimeout(10)
try:
    client.connect(sys.argv[1])
    client.sendall(bytes.fromhex(sys.argv[3]))
    print("answer", client.recv(65536).hex())
except OSError as error:
    print(type(error).__name__)
"""

pytestmark = pytest.mark.usefixtures("runtime_dir")


@pytest.fixture
def opened():
    """open_control_socket, and its results closed at the end."""
    made: list[ControlSocket] = []

    def make(node="n1"):
        made.append(open_control_socket("test", node))
        return made[-1]

    yield make
    for control in made:
        control.close()


def nodes_folder(runtime_dir: Path) -> Path:
    folder = runtime_dir / "callboard" / "nodes"
    folder.mkdir(parents=True, mode=0o700)
    (runtime_dir / "callboard").chmod(0o700)
    return folder


def path_of(folder: Path, node="n1") -> Path:
    return folder / f"{socket_name('test', node)}.sock"


def test_socket_and_directories_are_private(opened):
    path = opened().path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_the_umask_changes_nothing(opened):
    before = os.umask(0)
    try:
        path = opened().path
    finally:
        os.umask(before)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]


def connect_as(uid: int, path: str) -> str:
    """What becomes of a request that another user's process sends."""
    request = frame(AskJobs()).hex()
    return subprocess.run([sys.executable, "-c", CONNECT_AS, path, str(uid), request], capture_output=True, text=True,
                          check=True, timeout=30).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_kept_out_by_the_directory():
    with serving() as served:
        assert connect_as(NOBODY, served.path) == "PermissionError"
        assert connect_as(0, served.path).startswith("answer 0")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_even_where_the_files_let_him_in(runtime_dir):
    with serving() as served:
        for path in (runtime_dir, runtime_dir / "callboard", runtime_dir / "callboard" / "nodes"):
            path.chmod(0o755)
        Path(served.path).chmod(0o666)
        assert connect_as(NOBODY, served.path) in ("answer", "ConnectionResetError", "BrokenPipeError")
        served.events.wait("control.refused", reason=f"user {NOBODY}")


def test_the_uid_that_counts_is_the_one_the_kernel_names():
    with serving() as served:
        served.server._uid = os.geteuid() + 1  # as if the node were another user's
        with served.connect() as client:
            assert receive(client) is None
        served.events.wait("control.refused", reason=f"user {os.geteuid()}")
        served.server._uid = os.geteuid()
        with Link(served.path) as link:
            assert isinstance(link.ask(AskJobs()), KnownJobs)


@pytest.mark.parametrize("plant", ["file", "link to a file", "dangling link", "link to a socket", "directory", "fifo"])
def test_what_was_planted_there_is_refused_and_left_alone(plant, runtime_dir, opened):
    folder = nodes_folder(runtime_dir)
    path, aim = path_of(folder), runtime_dir / "aim"
    with socket.socket(socket.AF_UNIX) as other:
        if plant == "file":
            path.write_text("precious")
        elif plant == "link to a file":
            aim.write_text("precious")
            path.symlink_to(aim)
        elif plant == "dangling link":
            path.symlink_to(aim)
        elif plant == "link to a socket":
            other.bind(str(aim))
            path.symlink_to(aim)
        elif plant == "directory":
            path.mkdir()
        else:
            os.mkfifo(path)
        before = os.lstat(path)
        with pytest.raises(Conflict, match="remove it, then start again"):
            opened()
    assert os.lstat(path).st_ino == before.st_ino
    if plant != "dangling link":
        assert plant in ("directory", "fifo", "link to a socket") or path.read_text() == "precious"
    else:
        assert not aim.exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_directory_that_others_may_enter_is_refused(mode, runtime_dir, opened, monkeypatch):
    nodes_folder(runtime_dir).chmod(mode)
    monkeypatch.setattr("callboard.backends.runtime_dir.runtime_bases", lambda: [runtime_dir / "callboard"])
    with pytest.raises(StoreUnavailable, match="no directory for sockets is safe"):
        opened()


def test_a_directory_that_is_a_link_is_refused(runtime_dir, opened, monkeypatch):
    (runtime_dir / "elsewhere").mkdir(mode=0o700)
    (runtime_dir / "callboard").symlink_to(runtime_dir / "elsewhere")
    monkeypatch.setattr("callboard.backends.runtime_dir.runtime_bases", lambda: [runtime_dir / "callboard"])
    with pytest.raises(StoreUnavailable, match="no directory for sockets is safe"):
        opened()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_directory_or_socket_of_another_user_is_refused(runtime_dir, opened, monkeypatch):
    folder = nodes_folder(runtime_dir)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path_of(folder)))
        os.chown(path_of(folder), NOBODY, NOBODY)
        with pytest.raises(Conflict, match="is no socket of this user"):
            opened()
    os.chown(folder, NOBODY, NOBODY)
    monkeypatch.setattr("callboard.backends.runtime_dir.runtime_bases", lambda: [runtime_dir / "callboard"])
    with pytest.raises(StoreUnavailable):
        opened()


def test_the_sockets_of_dead_nodes_are_replaced_and_swept(runtime_dir, opened):
    folder = nodes_folder(runtime_dir)
    for node in ("n1", "gone"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path_of(folder, node)))
            dead.listen()
    control = opened()
    assert control.path == path_of(folder)
    assert list(folder.iterdir()) == [path_of(folder)]


def test_a_node_killed_hard_leaves_a_socket_that_the_next_one_replaces(runtime_dir, opened):
    program = ("from callboard.control_socket import open_control_socket; s = open_control_socket('test', 'n1'); "
               "print(s.path, flush=True); import signal; signal.pause()")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as node:
        path = Path(node.stdout.readline().strip())
        assert opened().path != path  # it lives: another name beside it
        node.send_signal(signal.SIGKILL)
    assert path.exists()
    assert opened().path == path
    assert path == path_of(runtime_dir / "callboard" / "nodes")


def test_a_closed_node_removes_its_own_file_only(runtime_dir, opened):
    control = opened()
    control.path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(control.path))
        control.close()
        assert control.path.exists()
        control.path.unlink()
    opened().close()
    assert not (runtime_dir / "callboard").exists()  # nothing of it is left


def test_a_client_does_not_speak_to_what_only_looks_like_a_node(runtime_dir):
    folder = nodes_folder(runtime_dir)
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(runtime_dir / "agent.sock"))
        agent.listen()
        for path in (str(runtime_dir / "agent.sock"), "relative/nodes/x.sock", "", f"{folder}/../../agent.sock",
                     str(folder / "x"), "/etc/passwd", f"{folder}/absent.sock", "/a\0b/callboard/nodes/x.sock",
                     "/a\udc80/callboard/nodes/x.sock", f"/{'x' * 5000}/callboard/nodes/x.sock"):
            with pytest.raises(Unavailable):
                Link(path)
        agent.settimeout(0)
        with pytest.raises(BlockingIOError):
            agent.accept()
    folder.chmod(0o777)
    with pytest.raises(Unavailable):
        check_path(str(folder / "x.sock"))


def test_a_client_hangs_up_on_another_users_node(monkeypatch):
    asked = []
    with serving(lambda message: asked.append(message) or Done()) as served:
        monkeypatch.setattr("callboard.link.os.geteuid", lambda: os.getuid() + 1)
        monkeypatch.setattr("callboard.link.is_private", lambda _folder: True)
        with pytest.raises(Unavailable, match="another user"), Link(served.path) as link:
            link.ask(PurgeQueue("q"))
        monkeypatch.undo()
        eventually(lambda: not served.server._connections, 5.0, "the connection is gone")
    assert asked == []

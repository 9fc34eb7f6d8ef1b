"""Bells between processes: sockets in a directory of the user's own."""

import os
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kit import eventually, require

from callboard.backends.socket_bells import SocketBells
from callboard.core.errors import StoreUnavailable

pytestmark = pytest.mark.usefixtures("base")
WAIT_S = 20.0
LISTENER = """
import sys, threading
from callboard.backends.socket_bells import SocketBells
rung = threading.Semaphore(0)
bells = SocketBells("subject")
bells.listen("leader", rung.release)
print("listening", flush=True)
while rung.acquire():
    print("rung", flush=True)
"""


@pytest.fixture
def base(monkeypatch):
    """A runtime directory of the test's own; short, for sockets' paths are."""
    folder = Path("/tmp") / f"bells-{os.getpid()}"  # noqa: S108 - made here, for this user only
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder / "callboard"
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def bells():
    every = []

    def make(subject="subject"):
        every.append(SocketBells(subject))
        return every[-1]

    yield make
    for one in every:
        one.close()


def sockets(base: Path) -> list[Path]:
    return [file for file in base.rglob("*") if stat.S_ISSOCK(file.lstat().st_mode)]


def test_another_process_is_woken(bells):
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "listening\n"
        bells().ring("leader")
        assert process.stdout.readline() == "rung\n"
        process.kill()


def test_who_has_another_subject_or_topic_hears_nothing(bells):
    heard, other, topic = threading.Event(), threading.Event(), threading.Event()
    bells().listen("leader", heard.set)
    bells("another").listen("leader", other.set)
    bells().listen("leader-2", topic.set)
    bells().ring("leader")
    assert heard.wait(WAIT_S)
    assert not other.is_set()
    assert not topic.is_set()


def test_directories_and_sockets_are_the_users_only(base, bells):
    bells().listen("leader", lambda: None)
    (file,) = sockets(base)
    assert stat.S_IMODE(base.lstat().st_mode) == stat.S_IMODE(file.parent.lstat().st_mode) == 0o700
    assert len(os.fsencode(file)) < 108


def test_closing_leaves_no_file(base, bells):
    one = bells()
    first, second = one.listen("leader", lambda: None), one.listen("nodes", lambda: None)
    first.close()
    assert len(sockets(base)) == 1
    second.close()
    assert not base.exists()
    one.listen("leader", lambda: None)
    one.close()
    one.close()
    assert not base.exists()


def test_a_killed_listeners_socket_is_removed_by_the_next_ring(base, bells):
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "listening\n"
        process.kill()
    assert len(sockets(base)) == 1
    bells().ring("nodes")
    assert len(sockets(base)) == 1, "not of this topic"
    bells().ring("leader")
    assert sockets(base) == []


def test_the_next_listener_removes_what_killed_ones_left_of_any_subject(base, bells):
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "listening\n"
        process.kill()
    (dead,) = sockets(base)
    kept = dead.parent / "leader.1.abcdef01"
    kept.write_text("no socket")
    live = bells("third")
    heard = threading.Event()
    live.listen("nodes", heard.set)
    bells("another").listen("nodes", lambda: None)
    assert not dead.exists()
    assert kept.exists()
    live.ring("nodes")
    assert heard.wait(WAIT_S)
    kept.unlink()


def test_a_full_socket_neither_blocks_nor_raises_and_many_rings_are_one(bells):
    entered, leave, calls = threading.Semaphore(0), threading.Event(), []

    def callback():
        calls.append(1)
        entered.release()
        leave.wait(WAIT_S)

    one = bells()
    last = threading.Event()
    one.listen("leader", callback)
    one.listen("last", last.set)
    one.ring("leader")
    assert entered.acquire(timeout=WAIT_S)
    for _ in range(1_000):
        one.ring("leader")
    leave.set()
    assert entered.acquire(timeout=WAIT_S), "rung while it was busy"
    one.ring("last")
    assert last.wait(WAIT_S)
    assert len(calls) == 2


@pytest.mark.parametrize("plant", ["link", "mode", "file"])
def test_a_planted_directory_is_not_used(base, bells, monkeypatch, tmp_path, plant):
    """Nor does it stop the listener: the next place is taken; without any, the error names the remedy."""
    other = tmp_path / "elsewhere"
    other.mkdir(mode=0o700)
    if plant == "link":
        base.symlink_to(other)
    elif plant == "mode":
        base.mkdir()
        base.chmod(0o777)
    else:
        base.write_text("")
    monkeypatch.setattr("callboard.backends.runtime_dir.runtime_bases", lambda: iter([base]))
    with pytest.raises(StoreUnavailable, match="set XDG_RUNTIME_DIR"):
        bells().listen("leader", lambda: None)
    bells().ring("leader")
    assert list(other.iterdir()) == []


def test_another_users_directory_is_not_used(base, bells, monkeypatch):
    require(os.geteuid() == 0, "root, to give a directory away")
    base.mkdir(mode=0o700)
    os.chown(base, 65534, 65534)
    monkeypatch.setattr("callboard.backends.runtime_dir.runtime_bases", lambda: iter([base]))
    with pytest.raises(StoreUnavailable, match="must belong to this user"):
        bells().listen("leader", lambda: None)


def test_who_has_no_runtime_directory_in_its_environment_still_hears(base, bells, monkeypatch):
    """A node started by a service manager and a program in a shell: the bell goes to each known place."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    heard = threading.Event()
    bells().listen("leader", heard.set)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base.parent))
    bells().ring("leader")
    assert heard.wait(WAIT_S)


def test_an_odd_topic_is_a_topic(bells):
    heard = threading.Event()
    bells().listen("../../x" * 50, heard.set)
    bells().ring("../../x" * 50)
    assert heard.wait(WAIT_S)


def test_listeners_come_and_go_at_the_same_moment(base):
    """Each removes the folder that it found empty, while another is about to use it."""
    def come_and_go(number):
        one = SocketBells("subject")
        for _ in range(50):
            one.listen(f"t{number}", lambda: None).close()
        one.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(come_and_go, range(4)))
    assert not base.exists()


def test_a_listener_that_closes_itself_ends_its_thread(bells):
    one, closed = bells(), threading.Event()

    def close():
        one.close()
        closed.set()

    one.listen("leader", close)
    before = threading.active_count()
    one.ring("leader")
    assert closed.wait(WAIT_S)
    eventually(lambda: threading.active_count() < before, WAIT_S, "the thread has ended")


def test_rings_of_strangers_are_only_rings(base, bells):
    """Whatever is written into the socket, it is a ring."""
    heard = threading.Event()
    bells().listen("leader", heard.set)
    (file,) = sockets(base)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(os.urandom(60_000), str(file))
    assert heard.wait(WAIT_S)

"""Every cluster backend: a lock has one holder, ends with its ttl, and its number fences."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cluster_kit
import pytest
from cluster_kit import ClusterRig
from kit import eventually

from callboard.core.errors import InvalidArgument
from callboard.core.records import LockToken

rig = cluster_kit.rig

HOSTILE_KEYS = [
    "/", "//a//b/", "..", "../../etc/passwd", "a b", "a:b{c}", "%2e%2e", "'; DROP TABLE x; --", "*", "a?b=c&d#e", "é",
    "ключ", "鍵", "🔑", "\\", "$(id)", "null", "k" * 255, "⁂" * 255,
]


def free(rig: ClusterRig, key: str, holder: str = "next", ttl_s: float = 30.0) -> LockToken:
    """Take the lock once its holder's ttl is over."""
    return eventually(lambda: rig.b.acquire_lock(key, holder, ttl_s), rig.wait_s, f"{key} is free")


def test_a_lock_excludes_others_and_not_other_locks(rig: ClusterRig):
    token = rig.a.acquire_lock("k", "one", 30.0)
    assert token is not None
    assert token[:2] == ("k", "one")
    assert rig.b.acquire_lock("k", "two", 30.0) is None
    assert rig.a.acquire_lock("k", "two", 30.0) is None
    assert rig.b.acquire_lock("k2", "two", 30.0) is not None
    assert rig.b.acquire_lock("K", "two", 30.0) is not None


def test_a_released_lock_is_free(rig: ClusterRig):
    token = rig.a.acquire_lock("k", "one", 30.0)
    assert rig.a.release_lock(token) is True
    assert rig.a.release_lock(token) is False
    assert rig.b.acquire_lock("k", "two", 30.0).number > token.number


def test_a_lock_is_not_released_by_another(rig: ClusterRig):
    token = rig.a.acquire_lock("k", "one", 30.0)
    for forged in (token._replace(holder="two"), token._replace(number=token.number + 1), token._replace(number=0),
                   token._replace(number=2**70), token._replace(holder=""), token._replace(key="other")):
        assert rig.b.release_lock(forged) is False
    assert rig.b.acquire_lock("k", "two", 30.0) is None
    assert rig.b.release_lock(token) is True, "the token itself is what counts, whoever brings it"


def test_a_lock_ends_with_its_ttl_and_not_before(rig: ClusterRig):
    before_s = time.monotonic()
    token = rig.a.acquire_lock("k", "one", rig.ttl_s)
    new = free(rig, "k")
    assert time.monotonic() - before_s >= rig.ttl_s * 0.95
    assert new.number > token.number


def test_a_paused_holders_number_is_stale_and_its_release_frees_nothing(rig: ClusterRig):
    """Who guards a resource refuses a lower number than it has seen: that is what the number is for."""
    paused = rig.a.acquire_lock("k", "one", rig.ttl_s)
    running = free(rig, "k")
    assert paused.number < running.number
    assert rig.a.release_lock(paused) is False
    assert rig.a.acquire_lock("k", "one", 30.0) is None
    assert rig.b.release_lock(running) is True


def test_the_release_of_a_lock_that_ended_is_refused_even_if_nobody_took_it(rig: ClusterRig):
    token = rig.a.acquire_lock("k", "one", rig.ttl_s)
    probe = free(rig, "k")
    rig.b.release_lock(probe)
    assert rig.a.release_lock(token) is False
    assert rig.a.acquire_lock("k", "one", 30.0).number > probe.number


def test_the_holders_own_call_again_gets_the_same_lock_for_longer(rig: ClusterRig):
    token = rig.a.acquire_lock("k", "one", rig.ttl_s)
    again = rig.a.acquire_lock("k", "one", 30.0)
    assert again.number == token.number
    threading.Event().wait(rig.ttl_s * 1.2)  # what is shown is that nothing ends meanwhile
    assert rig.b.acquire_lock("k", "two", 30.0) is None
    assert rig.a.release_lock(again) is True


@pytest.mark.parametrize("after", ["release", "expire", "reopen", "wipe", "reopen and wipe"])
def test_numbers_of_a_key_only_grow_whatever_ended_the_lock(rig: ClusterRig, after):
    numbers = []
    for turn in range(3):
        token = free(rig, "k", f"holder-{turn}", rig.ttl_s if after == "expire" else 30.0)
        numbers.append(token.number)
        if after == "expire":
            continue
        if "wipe" in after and rig.place.wipe is not None:
            rig.place.wipe()
        else:
            assert rig.b.release_lock(token)
        if "reopen" in after:
            rig.reopen()
    assert numbers == sorted(set(numbers))


class Contest:
    """Workers that take a lock in turn, and each stay inside until another has tried to come in."""

    def __init__(self, rig: ClusterRig, workers: int) -> None:
        self.rig = rig
        self.news = threading.Condition()
        self.tries = 0
        self.working = workers
        self.inside: list[int] = []
        self.numbers: list[int] = []

    def work(self, n: int) -> None:
        backend = self.rig.opened[n % len(self.rig.opened)]
        for turn in range(10):
            token = eventually(lambda: self.enter(backend, f"worker-{n}-{turn}"), self.rig.wait_s, "a turn")  # noqa: B023 - used at once
            with self.news:
                self.inside.append(n)
                self.numbers.append(token.number)
                before = self.tries
                self.news.wait_for(lambda: self.tries > before or self.working == 1, self.rig.wait_s)  # noqa: B023 - used at once
                assert self.inside == [n]
                self.inside.clear()
            assert backend.release_lock(token)
        with self.news:
            self.working -= 1
            self.news.notify_all()

    def enter(self, backend, holder: str) -> LockToken | None:
        token = backend.acquire_lock("k", holder, 30.0)
        with self.news:
            self.tries += token is None
            self.news.notify_all()
        return token


def test_only_one_is_inside_however_many_try(rig: ClusterRig):
    assert rig.a is not None and rig.b is not None  # noqa: PT018 - opens both before the threads do
    contest = Contest(rig, 4)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(contest.work, range(4)))
    assert contest.numbers == sorted(set(contest.numbers))
    assert len(contest.numbers) == 40


def test_hostile_keys_are_keys_like_others(rig: ClusterRig):
    tokens = [rig.a.acquire_lock(key, "one", 30.0) for key in HOSTILE_KEYS]
    assert [token.key for token in tokens] == HOSTILE_KEYS
    assert [rig.b.acquire_lock(key, "two", 30.0) for key in HOSTILE_KEYS] == [None] * len(HOSTILE_KEYS)
    assert all(rig.b.release_lock(token) for token in tokens)


def test_hostile_holders_are_holders_like_others(rig: ClusterRig):
    for holder in HOSTILE_KEYS:
        token = rig.a.acquire_lock("k", holder, 30.0)
        assert token.holder == holder
        assert rig.b.release_lock(token) is True


@pytest.mark.parametrize("bad", ["", "x" * 256, "a\nb", "a\0b", "\x7f", "\udc80"])
def test_what_is_no_key_is_refused(rig: ClusterRig, bad):
    with pytest.raises(InvalidArgument):
        rig.a.acquire_lock(bad, "one", 30.0)
    with pytest.raises(InvalidArgument):
        rig.a.acquire_lock("k", bad, 30.0)
    assert rig.a.release_lock(LockToken(bad, "one", 1, 30.0)) is False
    assert rig.a.release_lock(LockToken("k", bad, 1, 30.0)) is False


@pytest.mark.parametrize("ttl_s", [0, -1, math.nan, math.inf, 1e9])
def test_a_ttl_out_of_range_is_refused(rig: ClusterRig, ttl_s):
    with pytest.raises(InvalidArgument):
        rig.a.acquire_lock("k", "one", ttl_s)
    assert rig.a.acquire_lock("k", "one", 30.0) is not None

"""What others wrote under the Redis store's keys: it goes to the failed list or raises StoreError; the node lives."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import redis
from servers import shared

from callboard.backends.store.redis import open_redis
from callboard.core.errorrecord import decode_error
from callboard.core.errors import CodecError, QueueError, StoreError
from callboard.core.records import (
    Assignment,
    Held,
    JobState,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    TermClaim,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.backends.store.redis import RedisStore

POOL = (PoolReport("q", (QueueShare("q"),), 50, 50),)


class Scene:
    """A store with a leader and a node, and an enemy who may write any key."""

    def __init__(self) -> None:
        self.name = f"hostile-{uuid4().hex}"
        self.enemy = redis.Redis.from_url(shared.url("redis"), protocol=2)
        self.store: RedisStore = open_redis(f"{shared.url('redis')}?name={self.name}")
        self.epoch = self.store.begin_term(TermClaim("c", "redis", 1, "boot"))
        self.session = self.store.open_session(NodeInfo("n", "boot"), 5.0, POOL)

    def key(self, name: str) -> str:
        """A key of the store's."""
        return f"{{{self.name}}}:{name}"

    def everything(self) -> dict[bytes, bytes | None]:
        """All keys and what they hold."""
        return {key: self.enemy.dump(key) for key in self.enemy.scan_iter(self.key("*"))}

    def push(self, *ids: str, **options: object) -> None:
        """Push jobs."""
        self.store.push([NewJob(one, "app.work", "q", b"\x81\xa1a\x80", **options) for one in ids])

    def ref(self, job_id: str) -> bytes:
        """The row's ref."""
        return self.enemy.hget(self.key("ids"), job_id)

    def assign(self, *, take: bool = False):
        """Assign what is ready."""
        plan = Plan((Assignment(self.session, "q", "q", 50),))
        return self.store.assign(self.epoch, plan, self.session if take else None)

    def ends(self, taken) -> None:
        """Finish jobs."""
        self.store.finish(self.session, [Outcome(Held(one.ref, one.id, one.token), OutcomeKind.COMPLETED)
                                         for one in taken])

    def failed_kinds(self) -> list[str]:
        """Why jobs are on the failed list."""
        return [decode_error(self.enemy.hget(self.key("error"), ref)).kind
                for ref in self.enemy.zrange(self.key("failed"), 0, -1)]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A scene of the test's own."""
    made = Scene()
    yield made
    made.store.close()
    for key in made.enemy.scan_iter(made.key("*")):
        made.enemy.delete(key)
    made.enemy.close()


GARBAGE = [b"", b"\x00", b"\x01", b"\x01\x01" + b"\xff" * 300, b"\x02" * 200, b"x" * 100, b"\x01\x01" + b"\x00" * 98,
           b"\x01\x09" + b"\x00" * 120, bytes(range(256)) * 4]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("take", [False, True])
def test_a_ready_row_of_garbage_leaves_the_queue_and_the_others_run(scene: Scene, garbage: bytes, take: bool):  # noqa: FBT001 - a parameter
    scene.push("a", "bad", "c")
    scene.enemy.hset(scene.key("rows"), scene.ref("bad"), garbage)
    receipt = scene.assign(take=take)
    taken = receipt.taken if take else scene.store.take(scene.session, ["q"])
    assert [one.id for one in taken] == ["a", "c"]
    scene.ends(taken)
    assert scene.failed_kinds() in (["DamagedRow"], []), "on the failed list, unless its bytes say that it is not ready"
    assert scene.assign().assigned == {}
    assert scene.store.survey(scene.epoch, 10).ready == {}


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\xff\xff", b"\x05\x00\xc1\xc1\xc1\xc1\xc1", b"\x01\x00\x90",
                                     b"x" * 50])
def test_a_job_whose_arguments_are_garbage_fails_and_the_others_run(scene: Scene, garbage: bytes):
    scene.push("a", "bad", "c")
    scene.enemy.hset(scene.key("jobs"), scene.ref("bad"), garbage)
    scene.assign()
    assert [one.id for one in scene.store.take(scene.session, ["q"])] == ["a", "c"]
    assert scene.failed_kinds() == ["DamagedRow"]
    assert scene.store.counts(["q"])[0][4:6] == (2, 1)
    with pytest.raises(StoreError):
        scene.store.job("bad")
    assert scene.store.forget_failed(["bad"]) == 1


def test_a_row_that_is_missing_leaves_its_queue(scene: Scene):
    scene.push("a", "gone")
    scene.enemy.hdel(scene.key("rows"), scene.ref("gone"))
    scene.enemy.zadd(scene.key("ready:q"), {b"no ref of ours": 0})
    scene.assign()
    assert [one.id for one in scene.store.take(scene.session, ["q"])] == ["a"]
    assert scene.enemy.zcard(scene.key("ready:q")) == 0
    assert scene.store.job("gone") is None


def test_a_delayed_row_of_garbage_is_dropped_and_the_others_become_ready(scene: Scene):
    scene.push("a", "bad", delay_s=0.001)
    scene.enemy.hset(scene.key("rows"), scene.ref("bad"), b"garbage")
    scene.enemy.zadd(scene.key("delayed:q"), {scene.ref("a"): 1, scene.ref("bad"): 0})
    assert scene.store.promote_due(scene.epoch, 10).moved == 1
    assert scene.enemy.zcard(scene.key("delayed:q")) == 0


def test_a_row_that_claims_another_state_or_queue_is_not_assigned(scene: Scene):
    scene.push("a")
    scene.store.push([NewJob("other", "app.work", "r", b"\x80")])
    scene.enemy.zadd(scene.key("ready:q"), {scene.ref("other"): 0})
    taken = scene.assign(take=True).taken
    assert [one.id for one in taken] == ["a"]
    scene.enemy.zadd(scene.key("ready:q"), {scene.ref("a"): 0})  # it runs
    assert scene.assign().assigned == {}
    scene.ends(taken)
    assert scene.store.job("a").state is JobState.COMPLETED
    assert scene.store.job("other").state is JobState.READY


@pytest.mark.parametrize("field", ["info", "pools"])
def test_a_session_of_garbage_gets_nothing_and_can_end(scene: Scene, field: str):
    scene.push("a")
    scene.assign()
    scene.enemy.hset(scene.key(f"s:{scene.session}"), field, b"\xc1garbage")
    (view,) = scene.store.survey(scene.epoch, 10).sessions
    assert (view.session, view.pools) == (scene.session, ())
    assert scene.store.end_session(scene.epoch, scene.session, "x").handed_back == 1


KEYS = ["rows", "jobs", "ids", "queues", "q:q", "ready:q", "delayed:q", "alone:q", "expiring", "finished", "failed",
        "gone", "unique", "sessions", "draining", "desired", "schedules", "results", "s:*", "s:*:a", "s:*:r", "s:*:q"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_another_type_raises_no_other_error_than_ours(scene: Scene, key: str):
    scene.push("a", "b", unique=None)
    key = key.replace("*", str(scene.session))
    scene.enemy.delete(scene.key(key))
    scene.enemy.set(scene.key(key), "not of this type")
    acts = [lambda: scene.push("x"), lambda: scene.store.survey(scene.epoch, 10), lambda: scene.assign(take=True),
            lambda: scene.store.promote_due(scene.epoch, 10), lambda: scene.store.beat(scene.session, POOL),
            lambda: scene.store.sweep(scene.epoch, 10), scene.store.counts, lambda: scene.store.cancel("a"),
            lambda: scene.store.jobs(JobState.READY, None, 10), lambda: scene.store.job("a"), scene.store.schedules]
    for act in acts:
        before = scene.everything()
        try:
            act()
        except QueueError:  # which one is not the point: nothing else than ours comes out
            assert scene.everything() == before, "it failed before its first write"


def test_random_bytes_in_place_of_any_value(scene: Scene):
    chance = random.Random(4711)
    for number in range(60):
        scene.push(f"j{number}")
        scene.enemy.hset(scene.key(chance.choice(["rows", "jobs"])), scene.ref(f"j{number}"),
                         chance.randbytes(chance.choice([0, 3, 50, 99, 104, 140, 400])))
        scene.assign()
        taken = scene.store.take(scene.session, ["q"])
        assert all(isinstance(one.body, bytes) for one in taken)
        scene.ends(taken)
    scene.push("sound")
    scene.assign()
    assert [one.id for one in scene.store.take(scene.session, ["q"])] == ["sound"]


def test_an_answer_of_another_program_is_a_store_error(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    for answer in (b"\xc1", b"", b"\x90", b"\x93\x00", b"PONG", 7, None, [b"a"], b"\x92\xa1x\x00" * 2):
        monkeypatch.setattr(scene.store._link, "call", lambda _packed, answer=answer: answer)
        with pytest.raises((StoreError, CodecError)):
            scene.store.counts()

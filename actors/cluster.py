"""The Cluster actor: wraps the cluster backend, with locks, election, registration and broadcast."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from callboard.actors.base import DISPATCHER, ELECTOR, Actor, Parts, handles
from callboard.actors.post import Post
from callboard.core import candidates
from callboard.core.errors import QueueError
from callboard.core.messages import (
    AskMembers,
    Begin,
    Campaign,
    CampaignAnswer,
    ClusterChanged,
    JoinCluster,
    LeaveCluster,
    MembersSeen,
    PostDue,
    Renew,
    RenewAnswer,
    Resign,
    ResignAnswer,
    SendNudge,
)

if TYPE_CHECKING:
    from callboard.actors.lane import Lane
    from callboard.core.ports import Bell

NUDGE_S: Final = 0.05
"""Between two nudges, at least: one speaks for all orders before it."""
LOOK_EVERY: Final = 3
"""Between two looks at the members for this node's standing, in ttls of a session."""


class Cluster(Actor):
    """Carries out what others ask of the backend; renewals have a thread of their own, so that nothing delays them."""

    def __init__(self, name: str, parts: Parts) -> None:
        """Nothing is open yet; Begin opens it."""
        super().__init__(name, parts)
        self._renewals: Lane | None = None
        self._calls: Lane | None = None
        self._letters: Lane | None = None
        self._post: Post | None = None
        self._nudged_s = -math.inf
        self._watch: Bell | None = None
        self._standing = candidates.Standing()

    @handles(Begin)
    def begin(self, _message: Begin) -> None:
        """Open the threads and watch leadership and membership."""
        self._renewals = self.lane("cluster-renew")
        self._calls = self.lane("cluster")
        self._letters = self.lane("cluster-post")
        self._post = Post(self.parts, self._letters, self.emit)
        self._post.due()
        self._watch = self.parts.cluster.watch(self.teller(ELECTOR, ClusterChanged()))
        self.emit("cluster.connected", backend=self.parts.cluster.characteristics.name,
                  cluster_id=self.parts.cluster.cluster_id)

    @handles(Campaign)
    def campaign(self, message: Campaign) -> None:
        """Try to become leader, if this node stands."""
        def call() -> None:
            try:
                may = self._may_campaign()
                term = self.parts.cluster.campaign(self.parts.info.boot_id, message.ttl_s) if may else None
                answer = CampaignAnswer(message.attempt, term)
            except QueueError as error:
                answer = CampaignAnswer(message.attempt, None, str(error))
            self.tell(ELECTOR, answer)
            if answer.term is None:  # behind the answer: no campaign of one who stands waits for a list of members
                self._look()

        self._run(self._calls, call)

    def _may_campaign(self) -> bool:
        """On the thread for calls. One who does not stand reads who leads, which is cheaper than to campaign."""
        if self._standing.stands:
            return True
        led = self.parts.cluster.leader() is not None
        self._standing, may = candidates.may_campaign(self._standing, self.now(), led=led)
        return may

    def _look(self) -> None:
        """Now and then: whether this node stands. A backend that does not answer leaves it as it was."""
        config, now_s = self.parts.config, self.now()
        if now_s < self._standing.look_at_s:
            return
        with suppress(QueueError):  # campaigns and registrations tell of the outage
            members = self.parts.cluster.nodes()
            again_s = now_s + LOOK_EVERY * config.session_ttl_s
            self._standing = candidates.looked(self._standing, self.parts.info, members, config.candidates_max, again_s)

    @handles(Renew)
    def renew(self, message: Renew) -> None:
        """Keep exactly this term."""
        def call() -> None:
            try:
                answer = RenewAnswer(message.attempt, self.parts.cluster.renew(message.term, message.ttl_s))
            except QueueError as error:
                answer = RenewAnswer(message.attempt, kept=False, error=str(error))
            self.tell(ELECTOR, answer)

        self._run(self._renewals, call)

    @handles(Resign)
    def resign(self, message: Resign) -> None:
        """End exactly this term; behind renewals, so that none of it comes after."""
        def call() -> None:
            error_text = ""
            try:
                self.parts.cluster.resign(message.term)
            except QueueError as error:
                error_text = str(error)
            self.tell(ELECTOR, ResignAnswer(message.attempt, error_text))

        self._run(self._renewals, call)

    @handles(JoinCluster)
    def join(self, message: JoinCluster) -> None:
        """Register the node, or stay registered."""
        def call() -> None:
            try:
                self.parts.cluster.register(message.info, message.ttl_s)
            except QueueError as error:
                self.emit("cluster.register_failed", error=str(error))

        self._run(self._calls, call)

    @handles(LeaveCluster)
    def leave(self, message: LeaveCluster) -> None:
        """Unregister the node."""
        def call() -> None:
            try:
                self.parts.cluster.unregister(message.boot_id)
            except QueueError as error:
                self.emit("cluster.unregister_failed", error=str(error))

        self._run(self._calls, call)

    @handles(AskMembers)
    def members(self, message: AskMembers) -> None:
        """The members now; a backend that does not answer says nothing of them."""
        def call() -> None:
            try:
                boot_ids = tuple(info.boot_id for info in self.parts.cluster.nodes())
            except QueueError:  # campaigns and registrations tell of the outage
                boot_ids = None
            self.tell(DISPATCHER, MembersSeen(message.number, boot_ids))

        self._run(self._calls, call)

    @handles(PostDue)
    def post_due(self, _message: PostDue) -> None:
        """Subscribe again, or tell of what was refused."""
        if self._post is not None:
            self._post.due()

    @handles(SendNudge)
    def nudge(self, message: SendNudge) -> None:
        """Have the other nodes look at what was ordered: the store's bell may not reach them, and a beat is far off."""
        wait_s = self._nudged_s + NUDGE_S - self.now()
        if wait_s > 0.0:
            self.later(wait_s, message)
        elif self._post is not None:
            self._nudged_s = self.now()
            self._post.nudge()

    @staticmethod
    def _run(lane: Lane | None, call: object) -> None:
        if lane is not None:
            lane.run(call)  # type: ignore[arg-type]  # a local function without arguments

    def release(self) -> None:
        """Close watch and threads; the backend belongs to the node."""
        if self._watch is not None:
            self._watch.close()
        if self._post is not None:
            self._post.close()
        for lane in (self._renewals, self._calls, self._letters):
            if lane is not None:
                lane.close(timeout_s=2.0)  # what was asked last, to resign and to leave, is carried out

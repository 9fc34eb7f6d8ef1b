"""The conformance suite sees the bugs that it is there for: planted in the memory cluster, each makes a test fail."""

import pytest
import test_cluster_broadcast as broadcast
import test_cluster_election as election
import test_cluster_locks as locks
import test_cluster_members as members
from cluster_kit import ClusterRig, Place

from callboard.backends.cluster import memory
from callboard.backends.cluster.memory import MemoryCluster


class ReleasesWithoutOwnerCheck(MemoryCluster):
    def release_lock(self, token):
        return self._locks.pop(token.key, None) is not None


class LocksForWhoeverComes(MemoryCluster):
    def acquire_lock(self, key, holder, ttl_s):
        self._locks.pop(key, None)
        return super().acquire_lock(key, holder, ttl_s)


class LocksNeverExpire(MemoryCluster):
    def _live(self, key, _now_s):
        return self._locks.get(key)


class NumbersStartAgain(MemoryCluster):
    def acquire_lock(self, key, holder, ttl_s):
        if key not in self._locks:
            self._lock_number = 0
        return super().acquire_lock(key, holder, ttl_s)


class NumbersOfTermsStartAgain(MemoryCluster):
    def resign(self, term):
        super().resign(term)
        self._term_number = 0


class LeadershipIsCached(MemoryCluster):
    seen = None

    def leader(self):
        self.seen = self.seen or super().leader()
        return self.seen


class TermsNeverExpire(MemoryCluster):
    def _in_force(self, _now_s):
        return self._term


class RenewsWhatIsOver(MemoryCluster):
    def renew(self, term, ttl_s):
        self._term, self._term_ends_s = term, self._clock.boot_s() + ttl_s
        return True


class ResignsAnyTerm(MemoryCluster):
    def resign(self, _term):
        self._term = None
        self._follower.ring()


class ElectsTwo(MemoryCluster):
    def campaign(self, owner, ttl_s):
        self._term = None
        return super().campaign(owner, ttl_s)


class TellsNobody(MemoryCluster):
    def look(self):
        return "all is as ever", None


class MembersNeverExpire(MemoryCluster):
    def register(self, info, ttl_s):
        super().register(info, ttl_s)
        self._members[info.boot_id] = memory._Member(info, float("inf"))


class DeliversTwice(MemoryCluster):
    def messages_after(self, number, limit):
        return [(2 * n + k, body) for n, body in super().messages_after(number // 2, limit) for k in (0, 1)]


class DropsDoubles(MemoryCluster):
    last = None

    def broadcast(self, message):
        if message != self.last:
            super().broadcast(message)
        self.last = message


CAUGHT = [
    (ReleasesWithoutOwnerCheck, locks.test_a_lock_is_not_released_by_another),
    (ReleasesWithoutOwnerCheck, locks.test_a_paused_holders_number_is_stale_and_its_release_frees_nothing),
    (LocksForWhoeverComes, locks.test_a_lock_excludes_others_and_not_other_locks),
    (LocksForWhoeverComes, locks.test_only_one_is_inside_however_many_try),
    (LocksNeverExpire, locks.test_a_lock_ends_with_its_ttl_and_not_before),
    (NumbersStartAgain, lambda rig: locks.test_numbers_of_a_key_only_grow_whatever_ended_the_lock(rig, "release")),
    (NumbersOfTermsStartAgain, election.test_the_loser_is_told_when_the_winner_resigns),
    (LeadershipIsCached, election.test_what_is_seen_is_the_backends_state_and_no_memory_of_it),
    (TermsNeverExpire, election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    (RenewsWhatIsOver, election.test_a_renewal_after_the_end_is_refused_even_if_nobody_else_leads),
    (RenewsWhatIsOver, election.test_a_term_that_was_never_granted_neither_renews_nor_resigns),
    (ResignsAnyTerm, election.test_a_deposed_leader_can_neither_renew_nor_end_its_successors_term),
    (ElectsTwo, election.test_of_many_at_once_one_wins),
    (TellsNobody, election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    (MembersNeverExpire, members.test_who_is_not_heard_of_is_no_member_any_more_and_the_watch_tells),
    (DeliversTwice, broadcast.test_every_subscriber_gets_each_message_once_in_order_the_senders_own_too),
    (DropsDoubles, broadcast.test_the_same_message_sent_twice_arrives_twice),
]


@pytest.mark.parametrize(("mutant", "test"), CAUGHT, ids=[f"{m.__name__}-{n}" for n, (m, _) in enumerate(CAUGHT)])
def test_the_suite_catches(mutant, test):
    cluster = mutant()
    rig = ClusterRig(Place("mutant", lambda: cluster, 0.2, shared=False), wait_s=1.0)
    with pytest.raises(AssertionError):
        test(rig)
    rig.close()


@pytest.mark.parametrize("test", dict.fromkeys(test for _, test in CAUGHT), ids=lambda test: test.__name__)
def test_and_passes_without_them(test):
    cluster = MemoryCluster()
    rig = ClusterRig(Place("sound", lambda: cluster, 0.2, shared=False), wait_s=5.0)
    test(rig)
    rig.close()

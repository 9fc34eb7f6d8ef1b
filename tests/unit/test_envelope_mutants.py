"""S2's mutants: each bug, planted, is caught by the test that is named beside it."""

from __future__ import annotations

import random

import pytest
import test_core_envelope as rules

from callboard.core.envelope import ClusterKeys
from callboard.core.gate import Gate, Replays


def no_mac_check(monkeypatch):
    monkeypatch.setattr(ClusterKeys, "verify", lambda *_: True)


def unsigned_passes(monkeypatch):
    inner = ClusterKeys.verify
    monkeypatch.setattr(ClusterKeys, "verify", lambda self, sealed: not sealed.mac or inner(self, sealed))


def no_replay_check(monkeypatch):
    monkeypatch.setattr(Replays, "accept", lambda *_: True)


def the_last_number_alone_is_remembered(monkeypatch):
    def accept(self, sender, sequence):
        again = self._seen.get(sender) == sequence
        self._seen[sender] = sequence
        return not again

    monkeypatch.setattr(Replays, "accept", accept)


def forgotten_senders_are_new(monkeypatch):
    inner = Replays.accept

    def accept(self, sender, sequence):
        self._floor = 0
        return inner(self, sender, sequence)

    monkeypatch.setattr(Replays, "accept", accept)


def numbers_are_noted_before_the_mac_is_checked(monkeypatch):
    inner = Gate.refusal

    def refusal(self, sealed, known, wall_s):
        fresh = self._replays.accept(sealed.envelope.sender, sealed.envelope.sequence)
        kept, self._replays = self._replays, Replays()
        reason = inner(self, sealed, known, wall_s)
        self._replays = kept
        return reason or ("" if fresh else "replay")

    monkeypatch.setattr(Gate, "refusal", refusal)


def every_cluster_is_ours(monkeypatch):
    inner = Gate.refusal

    def refusal(self, sealed, known, wall_s):
        self._cluster_id = sealed.envelope.cluster_id
        return inner(self, sealed, known, wall_s)

    monkeypatch.setattr(Gate, "refusal", refusal)


def everyone_is_known(monkeypatch):
    inner = Gate.refusal
    monkeypatch.setattr(Gate, "refusal", lambda self, sealed, _, wall_s: inner(self, sealed, rules.everyone, wall_s))


def drawn(test):
    return lambda: test(random.Random(1))


MUTANTS = {
    no_mac_check: (drawn(rules.test_a_flipped_bit_is_never_let_in), drawn(rules.test_without_the_key_nobody_is_let_in)),
    unsigned_passes: (drawn(rules.test_without_the_key_nobody_is_let_in),),
    no_replay_check: (drawn(rules.test_a_replay_is_never_let_in),),
    the_last_number_alone_is_remembered: (drawn(rules.test_a_replay_is_never_let_in),),
    forgotten_senders_are_new: (rules.test_senders_are_bounded_and_the_forgotten_ones_can_not_be_replayed,),
    numbers_are_noted_before_the_mac_is_checked: (rules.test_a_refused_message_burns_no_number,),
    every_cluster_is_ours: (rules.test_another_clusters_messages_are_never_let_in_even_under_the_same_key,),
    everyone_is_known: (rules.test_an_unknown_sender_is_never_let_in,),
}


@pytest.mark.parametrize(("mutant", "test"), [(mutant, test) for mutant, tests in MUTANTS.items() for test in tests],
                         ids=lambda value: value.__name__)
def test_a_mutant_is_caught(mutant, test, monkeypatch):
    test()
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        test()

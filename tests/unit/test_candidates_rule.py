"""Who stands for election among many nodes, and when the others do all the same."""

from __future__ import annotations

import random

import pytest

from callboard.core.candidates import PATIENCE_S, Standing, looked, may_campaign
from callboard.core.records import NodeInfo


def node(number: int, started_ms: int | None = None) -> NodeInfo:
    return NodeInfo(f"n{number}", f"boot-{number}", started_ms=number if started_ms is None else started_ms)


def stands(me: NodeInfo, members: list[NodeInfo], candidates_max: int = 5) -> bool:
    return looked(Standing(), me, members, candidates_max, 0.0).stands


@pytest.mark.parametrize("seed", range(20))
def test_exactly_the_oldest_five_stand_whatever_the_order(seed: int):
    draw = random.Random(seed)
    members = [node(number) for number in range(draw.randint(5, 200))]
    draw.shuffle(members)
    standing = sorted(member.started_ms for member in members if stands(member, members))
    assert standing == [0, 1, 2, 3, 4], f"seed {seed}"


def test_nodes_that_started_together_are_told_apart():
    members = [node(number, started_ms=7) for number in range(30)]
    assert sum(stands(member, members) for member in members) == 5


def test_a_node_that_is_no_member_yet_counts_itself():
    members = [node(number) for number in range(5)]
    assert not stands(node(9), members)
    assert stands(node(9), members[:4])
    assert stands(node(9), [])


def test_who_joins_changes_nobodys_standing():
    members = [node(number) for number in range(8)]
    before = [stands(member, members) for member in members]
    assert [stands(member, [*members, node(99)]) for member in members] == before


def test_the_next_oldest_stands_when_one_of_the_few_is_gone():
    members = [node(number) for number in range(8)]
    assert not stands(members[5], members)
    assert stands(members[5], members[1:])


def test_who_does_not_stand_waits_until_nobody_has_led_for_a_while():
    """A script: each line is an instant, whether somebody leads, and whether the node may campaign."""
    state = Standing(stands=False)
    for now_s, led, expected in (
        (0.0, True, False),
        (1.0, False, False),
        (1.9, False, False),
        (1.0 + PATIENCE_S, False, True),
        (2.5, False, True),
        (3.0, True, False),
        (3.25, False, False),
        (3.25 + PATIENCE_S, False, True),
    ):
        state, may = may_campaign(state, now_s, led=led)
        assert may is expected, (now_s, led)

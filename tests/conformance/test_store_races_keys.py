"""A push that is sent twice, where the second copy stands still between its look and its write."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from storekit import job
from storeplaces import PLACES, rigs

from callboard.backends.store.sql import producer

if TYPE_CHECKING:
    from pathlib import Path

SIDE_BY_SIDE = [name for name in PLACES if name in {"postgresql", "mariadb"}]
"""Stores in which writers don't wait for each other."""


@pytest.mark.parametrize("place", SIDE_BY_SIDE)
def test_a_late_copy_of_a_push_holds_no_key(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    take_key = producer.take_key
    copies: list[object] = []

    with ExitStack() as cleanup:
        rig = rigs(PLACES[place], tmp_path, cleanup)
        other = rig.another()
        session = rig.node()
        assert rig.epoch.number == 1  # the term begins before

        def meanwhile(*what: Any) -> str | None:
            if not copies:
                copies.append(what)
                other.push([job("a", unique="k")])
                rig.succeed(session, rig.run_one(session))
            return take_key(*what)

        monkeypatch.setattr(producer, "take_key", meanwhile)
        receipt = rig.store.push([job("a", unique="k")])
        assert (receipt.ids, receipt.new, len(copies)) == (("a",), 0, 1)
        assert rig.push("b", unique="k").new == 1, "the job that holds the key has ended"

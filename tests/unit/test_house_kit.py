"""The tests' own helpers."""

from __future__ import annotations

import pytest
from kit import eventually, require


def test_eventually_returns_the_first_true_value() -> None:
    answers = iter([0, None, "", "there"])
    assert eventually(lambda: next(answers), 5, "an answer") == "there"


def test_eventually_says_what_did_not_happen_and_what_it_saw_last() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.0 s: the leader is n1 \(last: \[\]\)"):
        eventually(list, 0.0, "the leader is n1")


def test_require_goes_on_when_the_machine_has_it() -> None:
    require(condition=True, reason="never shown")


def test_require_skips_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no redis"):
        require(None, "no redis")


def test_require_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="missing in CI: no redis"):
        require(None, "no redis")

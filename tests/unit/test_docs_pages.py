"""The pages that are drawn from the code are as the code is now."""

from __future__ import annotations

import runpy

import pytest
from kit import ROOT

PAGES = runpy.run_path(str(ROOT / "docs" / "make.py"))["PAGES"]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_current(name):
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "make it anew: make docs"

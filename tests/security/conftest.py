"""For security tests: a runtime directory of their own."""

from __future__ import annotations

import shutil

import pytest
from controlkit import short_runtime_dir


@pytest.fixture
def runtime_dir(monkeypatch):
    folder = short_runtime_dir(monkeypatch)
    yield folder
    shutil.rmtree(folder)

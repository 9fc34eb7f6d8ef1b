"""Every conformance test of JobStore runs on each store."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from storeplaces import PLACES, rigs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storekit import Rig


@pytest.fixture(params=PLACES)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A rig on each kind of store."""
    with ExitStack() as cleanup:
        yield rigs(PLACES[request.param], tmp_path, cleanup)

"""A node that is still starting ends at once when it is told to, however long the import of its app takes."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from kit import eventually

from callboard import serve as serving
from callboard.core.config import PoolConfig
from callboard.core.errors import Unavailable
from callboard.core.records import QueueShare
from callboard.handle import ProcessNode
from callboard.node import Node
from callboard.settings import NodeSettings

IMPORT_S = 60
BOUND_S = 12.0


@pytest.fixture
def settings(tmp_path):
    app = tmp_path / "slow_app.py"
    here = str(tmp_path / "importing")
    app.write_text(f"import pathlib, time\npathlib.Path({here!r}).touch()\ntime.sleep({IMPORT_S})\n")
    pools = (PoolConfig((QueueShare("default"),), 1),)
    return NodeSettings(app=(str(app),), store=f"sqlite:///{tmp_path / 'jobs.db'}", pools=pools, log_style="off")


def test_a_program_can_stop_its_node_while_that_imports_the_app(settings, tmp_path):
    node, errors = ProcessNode(settings, None), []

    def start():
        try:
            node.start()
        except Unavailable as error:
            errors.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    eventually((tmp_path / "importing").exists, 30.0, "the import runs")
    start_s = time.monotonic()
    assert node.stop(20.0) == 0
    starting.join(BOUND_S)
    assert time.monotonic() - start_s < BOUND_S
    assert errors


def test_a_node_whose_program_has_gone_does_not_end_its_import(settings, tmp_path):
    node, errors = ProcessNode(settings, None), []

    def start():
        try:
            node.start()
        except Unavailable as error:
            errors.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    eventually((tmp_path / "importing").exists, 30.0, "the import runs")
    process = node._process
    process.stdin.close()
    assert process.wait(BOUND_S) == 0
    starting.join(BOUND_S)
    assert errors


def test_a_signal_before_there_is_a_node_ends_the_start(settings):
    def make_node(*_args, **_options):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the start goes on")

    assert serving.serve(settings, make_node=make_node) == 0


def test_a_signal_before_the_start_was_begun_is_not_lost(settings, monkeypatch):
    """It comes between the handlers and the try: nothing is there yet that could be interrupted."""
    begin = serving._Signals.__enter__

    def enter(self):
        begin(self)
        os.kill(os.getpid(), signal.SIGTERM)
        return self

    monkeypatch.setattr(serving._Signals, "__enter__", enter)
    assert serving.serve(settings, make_node=Node) == 0

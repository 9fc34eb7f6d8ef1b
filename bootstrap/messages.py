"""The messages that `Client.dispatcher.tell` and `.ask` take, and the answers."""

from __future__ import annotations

from callboard.core.messages import (
    AskStatus,
    CancelJob,
    Done,
    DrainNode,
    Message,
    NodeStatus,
    PurgeQueue,
    Pushed,
    PushJobs,
    Refused,
    Scale,
    SetPaused,
)
from callboard.core.records import NewJob

__all__ = [
    "AskStatus", "CancelJob", "Done", "DrainNode", "Message", "NewJob", "NodeStatus", "PurgeQueue", "PushJobs",
    "Pushed", "Refused", "Scale", "SetPaused",
]

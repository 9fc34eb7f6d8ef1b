"""What every message is: a frozen dataclass with a tag; to bytes, and back from bytes that may be hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import msgspec

from callboard.core.codec import FRAME_MAX_BYTES, encode
from callboard.core.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

M = TypeVar("M", bound="Message")


_by_tag: dict[int, type[Message]] = {}


_tag_of: dict[type[Message], int] = {}
_envelope = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])
_decoders: dict[type[Message], msgspec.msgpack.Decoder[Any]] = {}


class Message:
    """Base of all messages."""

    __slots__ = ()
    control: ClassVar[bool] = False
    coalesced: ClassVar[bool] = False


@dataclass_transform(frozen_default=True)
def message(tag: int) -> Callable[[type[M]], type[M]]:
    """Class decorator: a frozen dataclass, known by its tag. Tags are part of the protocol and never change."""

    def register(cls: type[M]) -> type[M]:
        made = dataclass(frozen=True)(cls)
        if tag in _by_tag:
            raise ValueError(f"tag {tag} is taken by {_by_tag[tag].__name__}")
        _by_tag[tag] = made
        _tag_of[made] = tag
        return made

    return register


def encode_message(value: Message, *, max_bytes: int = FRAME_MAX_BYTES) -> bytes:
    """A message as msgpack.

    Raises:
        PayloadTooLarge: Raised when it exceeds max_bytes.
    """
    fields = msgspec.to_builtins(value, builtin_types=(bytes,))
    return encode([_tag_of[type(value)], fields], max_bytes=max_bytes, what=type(value).__name__)


def decode_message(data: bytes | memoryview, *, max_bytes: int = FRAME_MAX_BYTES) -> Message:
    """A message from bytes that may be hostile.

    Unknown fields are let pass, as a newer node may send them; types and limits are checked. The bytes become the
    message's own types and nothing else: decoded freely, 1 MiB of empty arrays is a million lists (60 MB, 200 ms).

    Raises:
        CodecError: Raised when the bytes, the tag or a field is not one of ours.
    """
    if len(data) > max_bytes:
        raise CodecError(f"{len(data):,} bytes exceed the limit of {max_bytes:,}")
    what = "a message"
    try:
        tag, fields = _envelope.decode(data)
        kind = _by_tag.get(tag)
        if kind is None:
            raise CodecError(f"unknown message tag {tag}")
        what = kind.__name__
        if kind not in _decoders:
            _decoders[kind] = msgspec.msgpack.Decoder(kind)
        found: Message = _decoders[kind].decode(fields)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise CodecError(f"{what} can't be read: {error}"[:300], cause=error) from error
    return found


def known_messages() -> dict[int, type[Message]]:
    """Tags and classes, for docs and tests."""
    return dict(_by_tag)

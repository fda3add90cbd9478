"""Messages as bytes: msgpack behind a four-byte big-endian length. Arrays travel as (dtype, shape, bytes)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import numpy as np

from mechtui.link.messages import Reply, Request

HEADER = struct.Struct(">I")
LIMIT = 256 * 1024 * 1024


# Types of the arrays that cross the wire, as numpy writes them.
_NUMBERS = re.compile(r"[<>|=][biuf][0-9]{1,2}")


class BrokenFrameError(ValueError):
    """The other side sent something that is no frame of ours."""


class UnsendableError(ValueError):
    """A message that no frame can hold: the reason, as the end of a sentence."""


def _encode_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes())
    raise NotImplementedError(f"{type(value).__name__} cannot cross the wire")


def _decode_array(kind: type, value: Any) -> Any:
    if kind is np.ndarray:
        dtype, shape, data = value
        if _NUMBERS.fullmatch(dtype) is None:
            raise TypeError(f"{dtype} is no type of numbers")
        return np.frombuffer(data, dtype=dtype).reshape(shape)
    raise NotImplementedError(f"{kind.__name__} cannot cross the wire")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_array)


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Made when the first message comes: each side of the wire hears one kind, and it takes a while."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_decode_array)


def encode(message: Request | Reply) -> bytes:
    """A whole frame: header and body. Raises UnsendableError."""
    try:
        body = _encoder.encode(message)
    except UnicodeEncodeError as error:
        raise UnsendableError("it holds half of a character (a lone surrogate)") from error
    except OverflowError as error:
        raise UnsendableError("it holds a number of more than 64 bits") from error
    if len(body) > LIMIT:
        raise UnsendableError(f"it has {len(body)} bytes and {LIMIT} is the limit")
    return HEADER.pack(len(body)) + body


def decode_request(body: bytes) -> Request:
    """Raises BrokenFrameError."""
    return _decode(Request, body)  # type: ignore[no-any-return]


def decode_reply(body: bytes) -> Reply:
    """Raises BrokenFrameError."""
    return _decode(Reply, body)  # type: ignore[no-any-return]


def _decode(kind: Any, body: bytes) -> Any:
    try:
        return _decoder(kind).decode(body)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise BrokenFrameError(f"a frame of {len(body)} bytes is none of ours: {error}") from error


class Splitter:
    """Cuts a stream of bytes into frame bodies, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer)
            if length > LIMIT:
                raise BrokenFrameError(f"a frame says it has {length} bytes; the limit is {LIMIT}")
            if len(self._buffer) < HEADER.size + length:
                return
            body = bytes(self._buffer[HEADER.size : HEADER.size + length])
            del self._buffer[: HEADER.size + length]
            yield body

"""A number that is not there, beside one that was computed and is none.

Answers hold NaN where nothing was computed: what a query does not see, a cell that a sweep has not reached. That is
blank on the screen. Of a model with NaN in its weights a computed number is NaN, too, and is to be seen. As in R, where
NA is a NaN with a payload of its own, `NONE` is such a NaN: conversions between float32 and float64 keep it, arithmetic
mostly does. In JSON both are null.
"""

from __future__ import annotations

import math
import struct

import numpy as np

# The payload stands in those 22 bits that float32 has, too.
_PAYLOAD = 0x1954
NONE: float = struct.unpack(">d", struct.pack(">Q", (0x7FF8 << 48) | (_PAYLOAD << 29)))[0]
_MASK = 0x003FFFFF


def is_none(value: float) -> bool:
    """Whether it is `NONE`, of either sign; no other NaN is."""
    if not math.isnan(value):
        return False
    bits: int = struct.unpack(">Q", struct.pack(">d", value))[0]
    return bits >> 29 & _MASK == _PAYLOAD


def absent(values: np.ndarray) -> np.ndarray:
    """Of an array of numbers, which are `NONE`."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    found: np.ndarray = np.isnan(values) & ((bits & _MASK) == _PAYLOAD)
    return found

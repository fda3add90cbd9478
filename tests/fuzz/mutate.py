"""What is done to good input: a little, or all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

# What parsers trip over, each in its own way.
TEXTS = (
    *(
        '"',
        "'",
        '"""',
        "\\",
        "\n",
        "\r",
        "\t",
        "\0",
        " ",
        "",
        "#",
        "@",
        "*",
        ",",
        ">",
        "=",
        "-",
        ".",
        "/",
        "~",
        "|",
        ":",
    ),
    *(
        "\x1b[31m",
        "\x9b",
        "\ud800",
        "\u202e",
        "\u200b",
        "\ufeff",
        "e\u0301",
        "😀",
        "٣",
        "²",
        "１",
        "中",
        "..",
        "../../x",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        "[[",
        "nan",
        "-nan",
        "inf",
        "-inf",
        "1e999",
        "1e-400",
        "0x10",
        "1_000",
        "-0",
        "007",
    ),
    *("9" * 15, "9" * 25, "9" * 400, "9" * 5000, "-1", "0", "2147483648", "9223372036854775808", "None", "null", "%s"),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        7,
        2**31,
        2**63,
        10**30,
        -(10**9),
        0.0,
        -1.5,
        1e308,
        1e-308,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        "x",
        "../../etc/passwd",
        "/dev/zero",
        "\0",
        "9" * 5000,
        "x" * 100_000,
        [],
        {},
        [1],
        ["x"],
        {"x": 1},
        [[]] * 50,
    ),
    [None] * 1000,
)
NUMBERS = (b"\0" * 8, b"\xff" * 8, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", (2**40).to_bytes(8, "little"))


def text(dice: Random, seeds: Sequence[str]) -> str:
    """A line that begins as one of the seeds."""
    made = dice.choice(seeds)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3, 6))):
        made = dice.choice(_ON_TEXT)(dice, made, dice.choice(seeds))
    return made


def data(dice: Random, seed: bytes) -> bytes:
    """Bytes that begin as the seed."""
    made = seed
    for _ in range(dice.choice((1, 1, 1, 2, 3, 10))):
        made = dice.choice(_ON_DATA)(dice, made)
    return made


def document(dice: Random, seed: dict[str, Any]) -> bytes:
    """A JSON file that begins as the seed; now and then no JSON any more."""
    made = json.loads(json.dumps(seed))
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        _change(dice, made)
    said = json.dumps(made).encode()
    if dice.random() < 0.1:
        said = data(dice, said)
    if dice.random() < 0.02:
        said = b'{"a": ' + b"[" * 100_000
    return said


def _change(dice: Random, made: Any) -> None:
    """One value somewhere within is another, or gone, or there is one more."""
    keys: list[Any] = list(made) if isinstance(made, dict) else list(range(len(made)))
    if not keys:
        return
    key = dice.choice(keys)
    if isinstance(made[key], (dict, list)) and made[key] and dice.random() < 0.7:
        _change(dice, made[key])
    elif dice.random() < 0.15:
        del made[key]
    elif dice.random() < 0.1 and isinstance(made, dict):
        made[dice.choice(TEXTS).encode("utf-8", "replace").decode()] = deepcopy(dice.choice(VALUES))
    else:
        made[key] = deepcopy(dice.choice(VALUES))  # which later changes may reach into


def _at(dice: Random, made: str | bytes) -> tuple[int, int]:
    """Begin and end of a part."""
    begin = dice.randint(0, len(made))
    return begin, min(begin + dice.choice((0, 1, 1, 2, 5, 20)), len(made))


def _put(dice: Random, made: str, _: str) -> str:
    begin, end = _at(dice, made)
    return made[:begin] + dice.choice(TEXTS) + made[end:]


def _drop(dice: Random, made: str, _: str) -> str:
    begin, end = _at(dice, made)
    return made[:begin] + made[end:]


def _repeat(dice: Random, made: str, _: str) -> str:
    begin, end = _at(dice, made)
    return made[:end] + made[begin:end] * dice.choice((1, 2, 10, 1000)) + made[end:]


def _splice(dice: Random, made: str, other: str) -> str:
    return made[: _at(dice, made)[0]] + other[_at(dice, other)[0] :]


def _join(dice: Random, made: str, other: str) -> str:
    return made + dice.choice((" ", "\n", "", ", ")) + other


def _cut(dice: Random, made: str, _: str) -> str:
    return made[: _at(dice, made)[0]]


def _sign(dice: Random, made: str, _: str) -> str:
    begin, end = _at(dice, made)
    return made[:begin] + chr(dice.choice((dice.randint(0, 255), dice.randint(0, 0x10FFFF)))) + made[end:]


_ON_TEXT: tuple[Callable[[Random, str, str], str], ...] = (_put, _put, _drop, _repeat, _splice, _join, _cut, _sign)


def _flip(dice: Random, made: bytes) -> bytes:
    changed = bytearray(made)
    if changed:
        changed[dice.choice((0, -1, dice.randrange(len(changed)), dice.randrange(min(len(changed), 64))))] ^= (
            1 << dice.randrange(8)
        )
    return bytes(changed)


def _overwrite(dice: Random, made: bytes) -> bytes:
    piece = dice.choice((*NUMBERS, dice.randbytes(4)))
    begin = dice.choice((0, min(8, len(made)), dice.randrange(min(len(made), 256) + 1), dice.randrange(len(made) + 1)))
    return made[:begin] + piece + made[begin + len(piece) :]


def _shorten(dice: Random, made: bytes) -> bytes:
    return made[: dice.randrange(len(made) + 1)]


def _remove(dice: Random, made: bytes) -> bytes:
    begin, end = _at(dice, made)
    return made[:begin] + made[end:]


def _lengthen(dice: Random, made: bytes) -> bytes:
    begin, end = _at(dice, made)
    return made[:end] + made[begin:end] * dice.choice((1, 100)) + dice.randbytes(dice.choice((0, 1, 8))) + made[end:]


_ON_DATA: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _flip,
    _overwrite,
    _overwrite,
    _shorten,
    _remove,
    _lengthen,
)

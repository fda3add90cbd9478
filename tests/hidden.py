"""What a terminal and its reader must never get, by kind, and the search for it in bytes that left the program."""

from __future__ import annotations

import re
import unicodedata

# Commands that a terminal obeys: the clipboard, the title, hidden text, an answer typed as if by the user.
COMMANDS = "\x1b]52;c;UFdORUQ=\x07\x1b]2;PWNED\x07\x9b8m\x1b[8m\x1bP+q544e\x1b\\\x9d2;PWNED\x9c\x1b[6n\x1bc"


def characters(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


KINDS = {
    "commands": COMMANDS,
    # A newline is a line's end in a prompt and a sign elsewhere.
    "C0": characters(0, 9) + characters(0xB, 0x1F) + "\x7f",
    "C1": characters(0x80, 0x9F),
    "bidirectional": characters(0x202A, 0x202E) + characters(0x2066, 0x2069) + "\u200e\u200f\u061c",
    "no width": characters(0x200B, 0x200D) + characters(0x2060, 0x2064) + "\ufeff\u00ad\u034f\u180e\ufff9\ufffb",
    "separators": "\u2028\u2029\x85\u00a0\u3000\u1680\u2007\u202f",
    "tags": characters(0xE0000, 0xE0007) + characters(0xE0020, 0xE007F),
    "variation": characters(0xFE00, 0xFE0F) + characters(0xE0100, 0xE0110) + "\u180b",
    "surrogates": "\udc00\udfff\ud800\udbff",
    "private and unassigned": "\ue000\uf8ff\U000f0000\U0010ffff\u0378\ufdd0",
    "joining": "\U0001f1e9\U0001f1ea\U0001f3fb\u1100\u1161\u11a8\u115f\u3164\uffa0",
}
# What the program itself writes: places, colours, modes, its own clipboard.
OWN = re.compile(
    r"\x1b\[(?:\d+;\d+H|\d*[ABCDGHJK])"
    r"|\x1b\[(?:(?:0|1|2|3|4|7|9|2[1-9]|[34][0-9]|9[0-7]|10[0-7]|[34]8;5;\d+|[34]8;2;\d+;\d+;\d+);?)*m"
    r"|\x1b\[\?(?:1049|1000|1003|1015|1006|1016|1004|2004|2026|2048|25|7)[hl]|\x1b\[\?(?:2026|2048)\$p"
    r"|\x1b\[5n|\x1b\[8[hl]"
    r"|\x1b\[[<>]\d*u|\x1b\]52;c;[A-Za-z0-9+/=]*\x07|\x1b\]22;\w+\x07"
)
JOINING = set(KINDS["joining"]) | set(KINDS["variation"]) | {"\u034f"}


def hidden(char: str) -> bool:
    """By Unicode's own words, and not by mechtui's."""
    category = unicodedata.category(char)
    return (
        category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or (category == "Zs" and char != " ") or char in JOINING
    )


def left_over(written: str, lines: str = "\n") -> list[str]:
    """Every hidden character that is no part of what the program itself means, with what stands around it.
    lines: what may end a line."""
    rest = OWN.sub("", written)
    return [repr(rest[max(at - 10, 0) : at + 15]) for at, c in enumerate(rest) if c not in lines and hidden(c)]

"""TOML that anybody may have written: it is read in a time that follows its length, or refused in a sentence."""

from __future__ import annotations

import re
import tomllib
from typing import Any

# Of what is no text: signs that begin a value, a table or a list, and parts of a key. tomllib's time grows with the
# square of the latter.
MOST_SIGNS, MOST_PARTS = 50_000, 4
# A text or a comment.
_TEXT = re.compile(
    r"""
    "{3} [^"\\]*+ (?: (?: \\. | "(?!"") ) [^"\\]*+ )*+ "{3,5}
    | '{3} [^']*+ (?: '(?!'') [^']*+ )*+ '{3,5}
    | " [^"\\\n]*+ (?: \\. [^"\\\n]*+ )*+ "
    | ' [^'\n]*+ '
    | \# [^\n]*+
    """,
    re.DOTALL | re.VERBOSE,
)
_KEY = re.compile(rf'(?<![\w"-])(?:(?:[\w-]+|"")[ \t]*\.[ \t]*){{{MOST_PARTS},}}')
_SIGN = re.compile(r"[=\[]")


class TomlError(ValueError):
    """What is no TOML, or more than is read: the end of a sentence that begins with the file's name."""


def parsed(text: str) -> dict[str, Any]:
    """What the text says. Raises TomlError."""
    bare = _TEXT.sub('""', text)
    if _KEY.search(bare):
        why = f"a key of more than {MOST_PARTS} parts, and none that is known has as many"
        raise TomlError(f"is not TOML that can be read: it holds {why}")
    if sum(1 for _ in _SIGN.finditer(bare)) > MOST_SIGNS:
        raise TomlError(f"is not TOML that can be read: it holds more than {MOST_SIGNS:,} values, tables and lists")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(f"is not TOML: {error}") from error
    except RecursionError as error:
        raise TomlError("is not TOML that can be read: its lists or tables are nested too deeply") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise TomlError("is not TOML that can be read: it holds a number of thousands of digits") from error

"""Which token of the source stands for which token of the prompt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from mechtui.session.grammar.words import LineError, short, whole

NO_PARTNER = -1

_PAIR = re.compile(r"\s*([0-9]+)(?:-([0-9]+))?\s*>\s*([0-9]+)(?:-([0-9]+))?\s*")


def align(prompt_ids: Sequence[int], source_ids: Sequence[int], how: str = "auto") -> tuple[int, ...]:
    """Source position per prompt position, -1 where a token has no partner.

    how: "auto" (the same length: one by one; else equal runs of tokens pair up, and so do runs of equal length
    between them), "left" (counted from the start), "right" (counted from the end), or pairs that overrule auto:
    "3>4, 5-7>6-8". Raises LineError when `how` says none of this or names a position that does not exist.
    """
    n, m = len(prompt_ids), len(source_ids)
    match how.strip():
        case "left":
            return tuple(p if p < m else NO_PARTNER for p in range(n))
        case "right":
            return tuple(p + m - n if p + m - n >= 0 else NO_PARTNER for p in range(n))
        case "auto" | "":
            return _auto(prompt_ids, source_ids)
    partners = list(_auto(prompt_ids, source_ids))
    for prompts, sources in _explicit(how, n, m):
        # A source position serves the pair that names it, and no other.
        partners = [NO_PARTNER if partner in sources else partner for partner in partners]
        partners[prompts.start : prompts.stop] = sources
    return tuple(partners)


def _auto(prompt_ids: Sequence[int], source_ids: Sequence[int]) -> tuple[int, ...]:
    if len(prompt_ids) == len(source_ids):
        return tuple(range(len(prompt_ids)))
    partners = [NO_PARTNER] * len(prompt_ids)
    matcher = difflib.SequenceMatcher(None, list(prompt_ids), list(source_ids), autojunk=False)
    for tag, start, end, source_start, source_end in matcher.get_opcodes():
        if tag == "equal" or (tag == "replace" and end - start == source_end - source_start):
            partners[start:end] = range(source_start, source_end)
    return tuple(partners)


def _explicit(how: str, n: int, m: int) -> list[tuple[range, range]]:
    """Runs of the prompt, and of the source, that pair up one by one."""
    pairs: list[tuple[range, range]] = []
    column = 0
    for item in how.split(","):
        match = _PAIR.fullmatch(item)
        if match is None:
            at = column + len(item) - len(item.lstrip())
            problem = (
                f"{short(item.strip()) or 'nothing'} is not an alignment; write auto, left, right or PROMPT>SOURCE "
                "positions, as in 3>4, 5-7>6-8"
            )
            raise LineError(how, at, problem)
        prompt, source = (_run(match, group, how, column) for group in (1, 3))
        for span, group, count, what in ((prompt, 1, n, "prompt"), (source, 3, m, "source")):
            at = column + match.start(group)
            if not span:
                raise LineError(how, at, f"{match[group]}-{match[group + 1]} runs backwards")
            if span[-1] >= count:
                raise LineError(how, at, f"there is no position {span[-1]}: the {what} has {count} tokens")
        if len(prompt) != len(source):
            problem = f"{len(prompt)} positions of the prompt cannot pair with {len(source)} of the source"
            raise LineError(how, column + match.start(1), problem)
        pairs.append((prompt, source))
        column += len(item) + 1
    return pairs


def _run(match: re.Match[str], group: int, how: str, column: int) -> range:
    first = whole(match[group], how, column + match.start(group))
    last = whole(match[group + 1], how, column + match.start(group + 1)) if match[group + 1] else first
    return range(first, last + 1)

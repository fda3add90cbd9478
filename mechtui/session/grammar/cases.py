"""Lines of cases: `"prompts.jsonl"`, a file, or `ioi 64 seed1 ["mine.toml"]`, a family of templates.

Which families there are, and what files hold, is in `mechtui.session.case_templates` and `mechtui.session.cases`.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from mechtui.session.case_templates import built_in
from mechtui.session.document import Struct
from mechtui.session.grammar.words import NAME, LineError, cut, quote, short, unquote, whole

# How many are made where nobody says it, and the most that are read or made.
COUNT, MOST = 32, 1000
FILES, TEMPLATES = (".jsonl", ".csv"), ".toml"
_PLAIN = re.compile(r"[\w./~@+-]+")


class CaseSet(Struct, frozen=True):
    """Many prompts, each with its source, answer and foil. file: of cases, or of templates; empty for the built-in
    ones. family: of templates; empty where the file holds the cases themselves. count, seed: how many are made, and
    which."""

    file: str = ""
    family: str = ""
    count: int = COUNT
    seed: int = 0


@lru_cache(64)
def parse_cases(line: str) -> CaseSet:
    """Raises LineError."""
    words = cut(line)
    if not words:
        raise LineError(line, 0, f"a file or a family of cases should stand here, as in {_example()}")
    first, at = words[0]
    if _ends(first, line, at, FILES):
        if len(words) > 1:
            raise LineError(line, words[1][1], f"nothing more is expected here, but {short(words[1][0])} stands here")
        return CaseSet(_file(first, line, at))
    if NAME.fullmatch(first) is None:
        problem = f"{short(first)} should end in .jsonl or .csv, or be a family of cases, as in {_example()}"
        raise LineError(line, at, problem)
    said: dict[str, int | str] = {}
    for word, column in words[1:]:
        if re.fullmatch(r"[0-9]+", word):
            key, value = "count", whole(word, line, column)
            if not 1 <= value <= MOST:
                raise LineError(line, column, f"{short(word)} cases cannot be made: 1 to {MOST:,} can")
        elif re.fullmatch(r"seed[0-9]+", word):
            key, value = "seed", whole(word[4:], line, column + 4)
        elif _ends(word, line, column, (TEMPLATES,)):
            said["file"] = _file(word, line, column)
            continue
        else:
            problem = f"{short(word)} should be a count, a seed or a file of templates, as in {short(first)} 64 seed1"
            raise LineError(line, column, problem)
        if key in said:
            raise LineError(line, column, f"a {key} stands there already")
        said[key] = value
    made = CaseSet(str(said.get("file", "")), first, int(said.get("count", COUNT)), int(said.get("seed", 0)))
    if not made.file and first not in built_in():
        names = tuple(built_in())
        near = difflib.get_close_matches(first, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise LineError(line, at, f"{short(first)} is no family of cases; {hint}they are {', '.join(names)}")
    return made


def format_cases(cases: CaseSet) -> str:
    """`parse_cases` reads it back."""
    file = [] if not cases.file else [cases.file if _PLAIN.fullmatch(cases.file) else quote(cases.file)]
    if not cases.family:
        return file[0]
    return " ".join([cases.family, str(cases.count), *([f"seed{cases.seed}"] if cases.seed else []), *file])


def check_cases(line: str) -> str:
    """The line as it is kept; empty for an empty one. Raises LineError."""
    return format_cases(parse_cases(line)) if line.strip() else ""


def _ends(word: str, line: str, at: int, endings: tuple[str, ...]) -> bool:
    return _file(word, line, at).lower().endswith(endings)


def _file(word: str, line: str, at: int) -> str:
    return unquote(word, line, at) if word.startswith('"') else word


def _example() -> str:
    return 'ioi 64 seed1 or "prompts.jsonl"'

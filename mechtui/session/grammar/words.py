"""The words of a line, numbers and text in quotes, and `LineError`, which says what is wrong and where."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mechtui.session.document import surrogate
from mechtui.visible import json_escaped, seen

# Whole numbers and decimals that every program of this one can hold: 64 bits, JSON's 53, float32.
DIGITS = 15
MOST = 10**DIGITS - 1
LARGEST = 3.4028234663852886e38

NAME = re.compile(r"[\w-]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_SEED = re.compile(r"seed[0-9]+")
_CELL = re.compile(r"(-?[0-9]+)>(-?[0-9]+)")


class LineError(ValueError):
    """A line that means nothing. `line`, `column` (0-based) and `problem` make up the message."""

    def __init__(self, line: str, column: int, problem: str) -> None:
        # Half a character can be neither shown nor sent.
        self.line, self.problem = (text.encode("utf-8", "replace").decode() for text in (line, one_line(problem)))
        super().__init__(self.problem)
        self.column = column

    def __str__(self) -> str:
        return self.problem

    @property
    def each(self) -> tuple[LineError, ...]:
        """All mistakes, where it stands for several (`ManyLinesError`)."""
        return (self,)

    def shown(self) -> str:
        """Three lines for a terminal: the problem, the line, a caret under the place."""
        from rich.cells import cell_len

        before = cell_len(seen(self.line[: self.column]))
        return f"{seen(self.problem)}\n  {seen(self.line)}\n  {' ' * before}^"


class ManyLinesError(LineError):
    """Several lines that mean nothing: it is the first of them, and has all."""

    def __init__(self, errors: Sequence[LineError]) -> None:
        super().__init__(errors[0].line, errors[0].column, errors[0].problem)
        self.errors = tuple(errors)

    @property
    def each(self) -> tuple[LineError, ...]:
        return self.errors

    def shown(self) -> str:
        return "\n".join(error.shown() for error in self.errors)


Parsed = TypeVar("Parsed")


class Mistakes:
    """Lines are read one after another, and what is wrong with any of them is said at the end."""

    def __init__(self) -> None:
        self._errors: list[LineError] = []

    def read(self, parse: Callable[[str], Parsed], lines: Iterable[str]) -> tuple[Parsed, ...]:
        """The lines as `parse` reads them, without those that mean nothing."""
        found = []
        for line in lines:
            try:
                found.append(parse(line))
            except LineError as error:
                self._errors += error.each
        return tuple(found)

    def check(self) -> None:
        """Raises LineError, or ManyLinesError where several lines mean nothing."""
        if self._errors:
            raise self._errors[0] if len(self._errors) == 1 else ManyLinesError(self._errors)


def nearest(word: str, choices: Sequence[str]) -> str:
    """ "did you mean …? " for a word that is close to a choice, else nothing."""
    found = difflib.get_close_matches(word, choices, n=1, cutoff=0.4)
    return f"did you mean {found[0]}? " if found else ""


def named_in(line: str, sentence: str) -> int | None:
    """Where in a line the word begins that a sentence about it names; None where it names none. The first word, which
    says what the line is, counts only where it stands alone."""
    said = set(re.split(r"[\s:;,]+", sentence))
    words = list(_WORD.finditer(line))
    for found in words[1:] or words:
        word, inside = found[0], found[0].strip('@"').strip()
        if inside and (inside in said or (word.startswith('"') and inside in sentence)):
            return found.start()
    return None


def one_line(text: str) -> str:
    """The same with a sign for each end of a line, for a sentence that names what stands in a text."""
    return text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\r", "⏎")


def short(text: str) -> str:
    """A text as messages name it: a long one is cut."""
    return text if len(text) <= 60 else text[:59] + "…"


def shortened(text: str) -> str:
    """A sentence with every long word cut, as one that another library made of what it read."""
    return re.sub(r"\S{61,}", lambda found: short(found[0]), text)


def cut(line: str) -> list[tuple[str, int]]:
    """The words of a line and where each begins; text in double quotes (JSON's rules) stays whole. Raises LineError."""
    if (at := surrogate(line)) is not None:
        problem = f"character {at} is no character but half of one (a lone surrogate); leave it out"
        raise LineError(line, at, problem)
    words: list[tuple[str, int]] = []
    start = quote = -1
    escaped = False
    for index, char in enumerate(line):
        if quote >= 0:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                quote = -1
        elif char.isspace():
            if start >= 0:
                words.append((line[start:index], start))
            start = -1
        else:
            start = index if start < 0 else start
            quote = index if char == '"' else -1
    if quote >= 0:
        raise LineError(line, quote, 'this " is never closed; text is written "like this"')
    return words if start < 0 else [*words, (line[start:], start)]


Option = TypeVar("Option", bound=str)


def one_of(word: str, options: Iterable[Option]) -> Option | None:
    """The option that the word is; None where it is none of them."""
    return next((option for option in options if option == word), None)


def one_position(word: str, line: str, at: int) -> int | None:
    """The position that a word like `@-1` names; None for another word. at: where it stands. Raises LineError."""
    return whole(word[1:], line, at + 1) if re.fullmatch(r"@-?[0-9]+", word) else None


def one_cell(word: str, line: str, at: int) -> tuple[int, int] | None:
    """The query and the key that a word like `14>-2` names; None for another word. at: where it stands. Raises
    LineError."""
    found = _CELL.fullmatch(word)
    return None if found is None else (whole(found[1], line, at), whole(found[2], line, at + found.start(2)))


def whole(text: str, line: str, column: int) -> int:
    """`text`, digits with or without a minus, as a number. Raises LineError for one that is too large."""
    if len(text.lstrip("-")) > DIGITS:
        raise LineError(line, column, f"{short(text)} has more digits than the {DIGITS} that a whole number may have")
    return int(text)


def decimal(text: str) -> float | None:
    """A number as 5, -0.5 or 1e-7; None where it is none, or none that float32 can hold."""
    if not _DECIMAL.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) <= LARGEST else None


def format_number(value: float) -> str:
    """The shortest text that reads back as the same number: 5, 0.5, -1e-07."""
    return repr(value).removesuffix(".0")


def unquote(quoted: str, line: str, column: int) -> str:
    """The text that stands in double quotes. Raises LineError where there is none, or half a character."""
    try:
        text: object = json.loads(quoted, strict=False)
    except ValueError:
        problem = f'{short(quoted)} is not text; write it in double quotes, " and \\ with a \\ before them'
        raise LineError(line, column, problem) from None
    if not isinstance(text, str) or not text:
        raise LineError(line, column, 'text in double quotes should stand here, as in " John"')
    if surrogate(text) is not None:
        problem = f"{short(quoted)} holds half of a character (a lone surrogate), which no text has; leave it out"
        raise LineError(line, column, problem)
    return text


def quote(text: str) -> str:
    """Text in double quotes, with escapes for what nobody would see: `unquote` reads it back."""
    return json_escaped(json.dumps(text, ensure_ascii=False))


class Words:
    """A line cut into words, which are read one after another. What reads a word raises LineError."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.words = cut(line)
        self.at = 0

    def error(self, problem: str, column: int | None = None) -> LineError:
        """A mistake in the next word, or at a column."""
        if column is None:
            column = self.words[self.at][1] if self.at < len(self.words) else len(self.line)
        return LineError(self.line, column, problem)

    @property
    def column(self) -> int:
        """Where the word that was read last begins."""
        return self.words[self.at - 1][1]

    def peek(self) -> str | None:
        """The next word, which stays the next; None at the end."""
        return self.words[self.at][0] if self.at < len(self.words) else None

    def next(self, wanted: str) -> str:
        word = self.peek()
        if word is None:
            raise self.error(f"the line ends where {wanted} should stand")
        self.at += 1
        return word

    def passed(self, word: str) -> bool:
        """Whether this word is the next; then it is read."""
        found = self.peek() == word
        self.at += found
        return found

    def end(self) -> None:
        if self.peek() is not None:
            raise self.error(f"nothing more is expected here, but {short(self.peek() or '')} stands here")

    def number(self, prefix: str, example: str, least: float = -LARGEST) -> float:
        """A number behind its prefix, as in x0.5."""
        word = self.next(f"a number, as in {example},")
        value = decimal(word.removeprefix(prefix)) if word.startswith(prefix) else None
        if value is None or value < least:
            limits = f"of at most {LARGEST:.3g}" if least < 0 else f"from {least:g} to {LARGEST:.3g}"
            problem = f"{short(word)} should be {prefix} and a number {limits}, as in {example}"
            raise self.error(problem, self.column)
        return value

    def seed(self) -> int:
        word = self.next("a seed, as in seed7,")
        if _SEED.fullmatch(word) is None:
            raise self.error(f"{short(word)} should be seed and a whole number, as in seed7", self.column)
        return whole(word.removeprefix("seed"), self.line, self.column + len("seed"))

    def name(self, wanted: str) -> str:
        word = self.next(wanted)
        if NAME.fullmatch(word) is None:
            raise self.error(f"{short(word)} is not a name; names are letters, digits, - and _", self.column)
        return word

    def text(self) -> str:
        """Text in double quotes."""
        word = self.next('text in double quotes, as in "Love",')
        return unquote(word, self.line, self.column)

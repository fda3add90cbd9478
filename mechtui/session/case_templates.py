"""Cases that are made: templates and words from a TOML file, drawn so that a tokenizer reads all of a form alike."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from mechtui.session.cases import NAMED, Case, CasesError
from mechtui.session.document import Struct
from mechtui.session.grammar.places import ROLE
from mechtui.session.grammar.words import one_line, short, shortened
from mechtui.session.paths import PathError, read_text
from mechtui.session.toml import TomlError, parsed

BUILT_IN = Path(__file__).with_suffix(".toml")
MOST_BYTES = 1 << 22
# Of so many draws the commonest shape is a form's; for each case so many are tried.
SAMPLE, TRIES = 60, 40
_SLOT = re.compile(r"\{([A-Za-z_]+)([0-9]*)(?:\.([0-9]+))?\}")

# A text's token ids.
Encode = Callable[[str], Sequence[int]]


class Form(Struct, frozen=True, forbid_unknown_fields=True):
    """Texts with slots: {name1} is a word of the list `name`, {noun1.0} the first column of an item of `noun`.

    roles: what positions of the prompt are called, and the slot whose last token is there: `{name2}`, or `{name2}#2`
    for the second time that it stands there. A slot that has no name here has its own: name2, name2_2; pair and
    pair_2 for two columns of an item.
    """

    prompt: str
    answer: str
    foil: str
    source: str = ""
    roles: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def slots(self) -> list[tuple[str, str, int]]:
        """(list, number, column) of every slot, in the order of the texts."""
        found = _SLOT.findall(" ".join((self.prompt, self.source, self.answer, self.foil)))
        return [(name, number, int(column or 0)) for name, number, column in found]

    @property
    def places(self) -> dict[str, re.Match[str]]:
        """The slots of the prompt, as they are written and how often so far: `{name2}#2`."""
        often: Counter[str] = Counter()
        found: dict[str, re.Match[str]] = {}
        for match in _SLOT.finditer(self.prompt):
            often[match[0]] += 1
            found[f"{match[0]}#{often[match[0]]}"] = match
        return found

    def roles_in(self, words: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
        """What positions of the prompt with these words are called, and how many characters end there."""
        named = {(slot if "#" in slot else f"{slot}#1"): name for name, slot in self.roles.items()}
        often: Counter[str] = Counter()
        found = []
        for slot, match in self.places.items():
            own = match[1] + match[2]  # of all columns of a list's item
            often[own] += 1
            own += f"_{often[own]}" if often[own] > 1 else ""
            found.append((named.get(slot, own), len(_filled(self.prompt[: match.end()], words))))
        return tuple(found)


class Family(Struct, frozen=True, forbid_unknown_fields=True):
    """forms: each makes an equal share. instead: those for a tokenizer that can make none of them. words: by the name
    of their list; an item is a word, or a list of words that go together."""

    forms: tuple[Form, ...]
    words: dict[str, tuple[str | tuple[str, ...], ...]]
    about: str = ""
    instead: tuple[Form, ...] = ()


@cache
def built_in() -> dict[str, Family]:
    return parse(BUILT_IN.read_text(encoding="utf-8"), BUILT_IN.name)


def load(name: str) -> dict[str, Family]:
    """The families of a file, by name. name: as a user writes it. Raises CasesError."""
    try:
        return parse(read_text(name, MOST_BYTES), name)
    except PathError as error:
        raise CasesError(str(error)) from error


def parse(text: str, name: str) -> dict[str, Family]:
    """name: what the messages call it. Raises CasesError."""
    try:
        families = msgspec.convert(parsed(text), dict[str, Family])
    except TomlError as error:
        raise CasesError(f"{name} {error}") from error
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".").replace("[...]", " a family of its", 1)
        said = shortened(f"{where or 'the file'}: {what[:1].lower()}{what[1:]}".replace("`", ""))
        raise CasesError(f"{name}: {one_line(said)}") from error
    for family, each in families.items():
        _check(each, f"{name}: {family}")
    return families


def _check(family: Family, where: str) -> None:
    if not family.forms:
        raise CasesError(f"{where} has no form; one has a prompt, an answer and a foil under [[{{name}}.forms]]")
    for form in (*family.forms, *family.instead):
        for name, number, column in form.slots:
            items = family.words.get(name)
            slot = f"{{{short(name)}{number}}}"
            if not items:
                lists = ", ".join(map(short, family.words)) or "none"
                raise CasesError(f"{where}: {slot} names a list that is not there; its lists are {lists}")
            if any(column >= len(_columns(item)) for item in items):
                raise CasesError(f"{where}: {slot[:-1]}.{column}}} names a column that some words of {name} have not")
        for role, slot in form.roles.items():
            if ROLE.fullmatch(role) is None or role in NAMED:
                raise CasesError(f"{where}: {short(role)} cannot be the name of a position, as S2 is")
            if (slot if "#" in slot else f"{slot}#1") not in form.places:
                raise CasesError(f"{where}: {role} names {short(slot)}, which its prompt has not; one is {{name2}}#2")
        most = Counter(name for name, _ in {(name, number) for name, number, _ in form.slots})
        for name, needed in most.items():
            if needed > len(family.words[name]):
                raise CasesError(f"{where}: a form needs {needed} words of {name}, and there are fewer")


def _columns(item: str | tuple[str, ...]) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else item


def make(family: Family, name: str, count: int, seed: int, encode: Encode, model: str) -> tuple[Case, ...]:
    """So many cases, the same for the same seed and tokenizer: the forms take turns, no prompt comes twice, all of one
    form have the same number of tokens up to every slot, answer and foil are one token each. name: of the family;
    model: whose tokenizer it is, for the sentence. Raises CasesError."""
    for forms in (family.forms, family.instead):
        drawers = [_Drawer(family, form, f"{name} {seed} {number}", encode) for number, form in enumerate(forms)]
        able = [drawer for drawer in drawers if drawer.shape is not None]
        if not able:
            continue
        seen: set[str] = set()
        cases: list[Case] = []
        for number in range(count):
            case = able[number % len(able)].another(seen, number + 1)
            if case is None:
                raise CasesError(
                    f"{name} makes {len(cases)} different cases for the tokenizer of {model}, and {count} are asked for"
                )
            cases.append(case)
        return tuple(cases)
    raise CasesError(
        f"the tokenizer of {model} cannot make cases {name}: no answer and foil of its forms are one token each"
    )


class _Drawer:
    """Draws cases of one form. shape: the numbers of tokens up to each slot, and of all, that its prompts and sources
    have; None where none can be drawn."""

    def __init__(self, family: Family, form: Form, seed: str, encode: Encode) -> None:
        self._family, self._form, self._encode = family, form, encode
        self._random = random.Random(seed)
        shapes = Counter(shape for _ in range(SAMPLE) if (shape := self._shape(self._words())) is not None)
        most = max(shapes.values(), default=0)
        # Of those that come as often, the shortest.
        self.shape = min((each for each, often in shapes.items() if often == most), default=None)

    def another(self, seen: set[str], line: int) -> Case | None:
        """One whose prompt is not among those seen, which it joins; None where none is found."""
        for _ in range(TRIES):
            words = self._words()
            prompt = _filled(self._form.prompt, words)
            if prompt in seen or self._shape(words) != self.shape:
                continue
            seen.add(prompt)
            source, answer, foil = (
                _filled(text, words) for text in (self._form.source, self._form.answer, self._form.foil)
            )
            return Case(line, prompt, source or None, answer, foil, self._form.roles_in(words))
        return None

    def _words(self) -> dict[str, str]:
        """A word for each slot; slots of one list and other numbers have other words."""
        wanted: dict[str, list[str]] = {}
        for name, number, _ in self._form.slots:
            numbers = wanted.setdefault(name, [])
            if number not in numbers:
                numbers.append(number)
        drawn: dict[str, str] = {}
        for name, numbers in wanted.items():
            items = self._random.sample(self._family.words[name], len(numbers))
            for number, item in zip(numbers, items, strict=True):
                columns = _columns(item)
                drawn |= {f"{{{name}{number}.{at}}}": word for at, word in enumerate(columns)}
                drawn[f"{{{name}{number}}}"] = columns[0]
        return drawn

    def _shape(self, words: dict[str, str]) -> tuple[int, ...] | None:
        """None where answer and foil are not one token each, or the same."""
        answer, foil = (tuple(self._encode(_filled(text, words))) for text in (self._form.answer, self._form.foil))
        if len(answer) != 1 or len(foil) != 1 or answer == foil:
            return None
        shape: list[int] = []
        for text in (self._form.prompt, self._form.source):
            ends = [match.end() for match in _SLOT.finditer(text)]
            shape += [len(self._encode(_filled(text[:end], words))) for end in (*ends, len(text)) if text]
        return tuple(shape)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda match: words[match[0]], text)


def family_of(name: str, file: str) -> Family:
    """A family by its name, of a file of the user's or of the built-in ones. Raises CasesError."""
    families = load(file) if file else built_in()
    if name not in families:
        there = ", ".join(families) or "none"
        raise CasesError(f"{file or 'the built-in file'} has no family {short(name)}; it has {there}")
    return families[name]

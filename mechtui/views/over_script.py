"""What exported programs of a question over the cases have in common: the cases' texts, and what all of them say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from msgspec import structs

from mechtui.evidence import SAMPLES, SEED, SHARE
from mechtui.session.document import ALL, Edit, Positions, Range
from mechtui.session.hook_edits import HookEdit, HookEdits
from mechtui.views.script import Around, ScriptError, quoted

NOT_KNOWN = "the program does not know which cases were made: it is written once they have been answered"
# Keys of what a program does not compute.
OMITS = ("over", "cases")
# What `summed` leaves in scope besides the means.
KEYS = ("n", "low", "high", "sd", "share", "each")


def texts(answer: Mapping[str, Any], around: Around) -> list[str]:
    """Lines after which `cases` has prompt, answer and foil of each, None for one that has no numbers."""
    each = []
    for case in answer["cases"]:
        own = [
            getattr(around.session, name) if case[name] is None else case[name] for name in ("prompt", "answer", "foil")
        ]
        each.append("    None," if case["problem"] else f"    ({', '.join(map(quoted, own))}),")
    return ["cases = [  # prompt, answer, foil", *each, "]", ""]


# Lines after which `difference(ids, answer, foil, hooks)` is the logit difference after a text's last token.
DIFFERENCE = (
    "def difference(ids, answer, foil, hooks=()):",
    "    # logit(answer) - logit(foil) after the last token",
    "    logits = bridge.run_with_hooks(ids, fwd_hooks=list(hooks))[0, -1].float()",
    "    one, two = (tokenizer.encode(text, add_special_tokens=False)[0] for text in (answer, foil))",
    "    return (logits[one] - logits[two]).item()",
    "",
)


def summed() -> list[str]:
    """Lines after which `mean` and the tables of `KEYS` are those of `each` [case, ...], NaN where a case has none."""
    return [
        "each = np.array(each, dtype=float)",
        "known = each[~np.isnan(each.reshape(len(each), -1)).all(1)]",
        "count = len(known)",
        "mean, none = known.mean(0), np.full(each.shape[1:], np.nan)",
        "low, high, sd = none, none, none",
        "if count > 1:",
        "    # The bootstrap: means of as many cases, drawn with replacement.",
        f"    drawn = np.random.default_rng({SEED}).integers(0, count, ({SAMPLES}, count))",
        "    means = np.array([known[sample].mean(0) for sample in drawn])",
        f"    low, high = np.quantile(means, [{(1 - SHARE) / 2!r}, {(1 + SHARE) / 2!r}], axis=0)",
        "    sd = known.std(0, ddof=1)",
        "n = np.full(each.shape[1:], count)",
        "share = (np.sign(known) == np.sign(mean)).mean(0)",
    ]


class _Names(list[int]):
    """Positions that are written as a name."""

    def __repr__(self) -> str:
        return "here"


class _Everywhere(HookEdit):
    """A hook edit whose positions stand in the program's `here`."""

    @property
    def positions(self) -> list[int]:
        return _Names(super().positions)


def at_here(edit: HookEdit) -> HookEdit:
    """The same at the positions that the program calls `here`."""
    return _Everywhere(**{each.name: getattr(edit, each.name) for each in fields(edit)})


@dataclass(frozen=True)
class OneCase(Around):
    """What the lines of one case are written from: a position counts from the end, and the target is the case's."""

    @classmethod
    def of(cls, around: Around) -> Self:
        both = {"answer": around.session.answer or "answer", "foil": around.session.foil or "foil"}
        said = {each.name: getattr(around, each.name) for each in fields(Around)}
        return cls(**{**said, "session": structs.replace(around.session, edits=(), **both)})

    def position(self, position: int) -> int:
        return position

    def hook_edits(self, edit: Edit) -> HookEdits:
        return tuple(map(at_here, super().hook_edits(edit)))

    def target(self, position: int) -> list[str]:
        return [f"[{name}] = tokenizer.encode({name}_text, add_special_tokens=False)" for name in ("answer", "foil")]


def of_cases(
    answer: Mapping[str, Any],
    around: Around,
    lines: Callable[[Around], list[str]],
    key: str,
    positions: Positions = ALL,
) -> list[str]:
    """Lines after which `found` has what each case's program returns, None for none, and `each` its tables of this
    key. lines: those of a case, which return the key. positions: of the edit that they make. Raises ScriptError."""
    inside = [
        "tokens = encode(prompt)",
        "n = tokens.shape[-1]",
        f"here = {places(positions)}",
        "clean_logits, clean = bridge.run_with_cache(tokens)",
        "logits, cache, fwd_hooks = clean_logits[0], clean, []",
        *lines(OneCase.of(around)),
    ]
    return [
        *texts(answer, around),
        "def of_case(prompt, answer_text, foil_text):",
        *(f"    {line}" if line else "" for line in inside),
        "",
        "found = [None if case is None else of_case(*case) for case in cases]",
        f'tables = [None if one is None else np.asarray(one["{key}"], dtype=float) for one in found]',
        "shape = next(table.shape for table in tables if table is not None)",
        "each = [np.full(shape, np.nan) if table is None else table for table in tables]",
    ]


def returned(means: str, more: Iterable[tuple[str, str]], share: str = "share") -> list[str]:
    """The last lines. means, share: the keys of the means, and of the share of cases with their sign. more: keys, and
    what stands for them."""
    tables = [(means, "mean"), *((key, key) for key in KEYS if key != "share"), (share, "share")]
    pairs = [*((key, f"{name}.tolist()") for key, name in tables), *more]
    return ["return {", *(f'    "{key}": {value},' for key, value in pairs), "}"]


def places(positions: Positions) -> str:
    """Positions as a list in the program, where `n` is how many tokens a text has. Raises ScriptError."""
    if not positions.items:
        return "list(range(n))"
    found = []
    for item in positions.items:
        if not isinstance(item, Range):
            raise ScriptError("the program finds no token by its text or name in every case: mechtui run answers it")
        first, last = (str(end) if end >= 0 else f"n - {-end}" for end in (item.first, item.last))
        found.append(first if first == last else f"*range({first}, {last} + 1)")
    return f"sorted({{{', '.join(found)}}})"

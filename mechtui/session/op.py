"""What an op is: all that is known of it but the tensors, which mechtui/engine/apply.py has.

docs/dev/add-an-op.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

from msgspec.structs import replace

from mechtui.session import sites
from mechtui.session.document import Edit, Site, Vector
from mechtui.session.grammar.places import format_site, parse_site
from mechtui.session.grammar.words import LARGEST, Words, format_number
from mechtui.session.hook_edits import EditError, HookEdit
from mechtui.session.prompt import NamedModel, Prompt, Surroundings

# A word that may stand next in a line, and what it means.
Choice = tuple[str, str]
# The name of a run's cache in an exported program -> what an edit acts on, of that run.
Of = Callable[[str], str]


class Op:
    """One op. The defaults are those of an op without an argument that acts at every site: `zero`.

    name: its first word. order: where it stands in lists, the simplest first. note: what becomes of the activation.
    examples: arguments to offer. number: the field of `Edit` that + and - change, by `step`, within `least` and `most`.
    no_positions: why it takes no @POSITIONS, where it does not. takes: the clean runs whose values it takes: the
    source's, this prompt's, or those of the reference prompts where there are some. by_alignment: whether each position
    gets its partner's.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    note: ClassVar[str]
    examples: ClassVar[tuple[Choice, ...]] = ()
    number: ClassVar[str] = ""
    step: ClassVar[float] = 1
    least: ClassVar[float] = -LARGEST
    most: ClassVar[float] = LARGEST
    no_positions: ClassVar[str] = ""
    takes: ClassVar[Literal["", "source", "clean", "references"]] = ""
    by_alignment: ClassVar[bool] = False

    # The line

    def parse_site(self, words: Words) -> tuple[Site, dict[str, Any]]:
        """Where it acts, and what else of `Edit` that word says. Raises LineError."""
        return parse_site(words.next("a site, as in L9H9 or L5.pre,"), line=words.line, column=words.column), {}

    def format_site(self, edit: Edit) -> str:
        """The word for where it acts: `parse_site` reads it back."""
        return format_site(edit.site)

    def refuses(self, site: Site) -> str:
        """Why it cannot act at a site, whatever the model; empty where it can."""
        return ""

    def parse(self, words: Words) -> dict[str, Any]:
        """Its argument, as fields of `Edit`. Raises LineError."""
        return {}

    def parse_at(self, site: Site, words: Words) -> dict[str, Any]:
        """The same, where the site decides what the argument is. Raises LineError."""
        return self.parse(words)

    def format(self, edit: Edit) -> tuple[str, ...]:
        """The words of its argument: `parse` reads them back."""
        return ()

    def sites(self, word: str) -> Sequence[Choice] | None:
        """What may be written for where it acts, from the word's beginning; None: any site that it does not refuse."""
        return None

    def choices(self, argument: Sequence[str], vectors: Sequence[Vector], tokens: Sequence[Choice]) -> Sequence[Choice]:
        """What may stand behind the words of an argument that is being written. tokens: the prompt's, in quotes, each
        with its place."""
        return () if argument else self.examples

    def nudged(self, edit: Edit, sign: int) -> Edit:
        """One step more (1) or less (-1) of its number."""
        # Tenths add up to tenths, not to 0.30000000000000004.
        value = round(getattr(edit, self.number) + sign * self.step, 6)
        return replace(edit, **{self.number: max(self.least, min(value, self.most))})

    # What it means for a model and a prompt

    def acts_at(self, site: Site) -> Site:
        """Where an edit of this site acts."""
        return site

    def hooks(self, edit: Edit, model: NamedModel) -> list[tuple[str, int, dict[str, Any]]]:
        """(hook, layer, what is of that place alone) of each `HookEdit`, in rising layers. Raises EditError."""
        return [(hook, layer, {}) for hook, layer in sites.hooks(self.acts_at(edit.site), model.shape)]

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        """What the op decides of a `HookEdit`: `places`, and its numbers. Raises EditError."""
        return {"places": tuple((position, None) for position in prompt.positions(edit.positions))}

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        """Lines of the exported program, which change `part` [batch, pos, width] in place.

        of: (a cache's name) -> the same part of that run, as in `source[hook.name][:, :, head]`. vector: the name of
        its steering vector, empty without one. The program has the caches `clean`, and where an edit takes values from
        them, `source`, and a list of them, `references`.
        """
        raise NotImplementedError

    def said_of(self, site: Site) -> str:
        """What becomes of the activation there, without an example."""
        return self.note.partition(":")[0]

    def is_table(self, edit: Edit) -> bool:
        """Whether it acts on [query, key] rather than on [pos, width]."""
        return sites.place(self.acts_at(edit.site)).width == "keys"


class TakingOp(Op):
    """An op whose values are those of another run: the source's or the clean one, by their names in the program."""

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        partners = [partner for _, partner in edit.places]
        yield f"part[:, {edit.positions}] = {of(self.takes)}[:, {partners}]"


class NumberOp(Op):
    """An op of one number, `x5`. like: it as an example, for who writes none."""

    number = "factor"
    like: ClassVar[str]

    def parse(self, words: Words) -> dict[str, Any]:
        return {"factor": words.number("x", self.like)}

    def format(self, edit: Edit) -> tuple[str, ...]:
        return (f"x{format_number(edit.factor)}",)

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        return super().resolve(edit, prompt, around) | {"factor": edit.factor}


class VectorOp(Op):
    """An op that takes a steering vector. done: what is done with it, as a participle."""

    done: ClassVar[str]

    def refuses(self, site: Site) -> str:
        if sites.place(site).width == "d_model":
            return ""
        return (
            f"a steering vector has d_model numbers and {format_site(site)} has not; {self.name} it at L9.pre, L9.mid, "
            "L9.post, L9.attn, L9.mlp, embed or pos"
        )

    def parse(self, words: Words) -> dict[str, Any]:
        return {"vector": words.name("the name of a steering vector")}

    def format(self, edit: Edit) -> tuple[str, ...]:
        return (edit.vector,)

    def choices(self, argument: Sequence[str], vectors: Sequence[Vector], tokens: Sequence[Choice]) -> Sequence[Choice]:
        if argument:
            return self.examples if len(argument) == 1 else ()
        return [(vector.name, vector.source) for vector in vectors]

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        for steering in around.vectors:
            if steering.vector.name == edit.vector:
                return super().resolve(edit, prompt, around) | {"vector": steering}
        names = ", ".join(steering.vector.name for steering in around.vectors) or "none yet"
        raise EditError(f"there is no steering vector {edit.vector}; the session has: {names}")

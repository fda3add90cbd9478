"""How a view answers in the program that a session is exported as.

`views/<v>/script.py` has `lines(question, around) -> list[str]`: the body of a Python function that computes the view's
numbers from one run, in TransformerLens's own terms, as one would write it in a notebook. Its last line is
`return {...}`, with the keys and numbers that `mechtui run` prints for the view; tensors may stay tensors. The program
compares them with those that were on the screen. It is called for the clean run and, where an edit is on, for the
edited one. A question that no program answers raises `ScriptError`: one sentence, which the program has in its place.

Besides `lines` the file may have:

OMITS                 keys that the program leaves out, since no model computes them; `top.hex` for one of a part
lines_of(question, around, answers)   in place of `lines`, where the answers are known that the program is compared with
omits(question)       the same, where the question decides it
EACH_RUN              False where it is called for the clean run only
each_run(question)    the same, where the question decides it
looser(question, around, answer)   how many times as far off as others its numbers may be, from the answer as
                      `mechtui run` prints it

In scope are `torch`, `np`, `bridge` (a TransformerBridge), `tokenizer`, `encode(text)` (ids, with BOS where the session
has it), `text(id)` (a token's text), `tokens` [pos], `clean_logits` [1, pos, d_vocab] and `clean` (a cache), and three
of the run at hand:

logits [pos, d_vocab]
cache: an ActivationCache, each activation as the run's edits left it, with a batch axis of 1
fwd_hooks: the run's edits as hooks, for views that run the model again: `bridge.run_with_hooks(ids, fwd_hooks=...)`

`runs` are those three of the clean run and, where an edit is on, of the edited one. The hooks of each edit alone are
`around + hooks_1`, `around + hooks_2`, ... by its place in the session, steering vectors are `vector_0`, `vector_1`,
..., dictionaries of features what `Around.dictionary` calls them (see `mechtui.views.dictionary_script`). What the
lines name is there, whether the edited run uses it or not. So are `seen(hook)`, the keys that each query sees at a hook
of patterns or scores, `at_mid(layer, edit)`, two hooks that edit resid_mid, and `noted["HOOK"]`, what last passed a
hook, in this run or the one before, edits done.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from msgspec.structs import replace

from mechtui.session.dictionaries import About
from mechtui.session.document import Edit, ModelShape, Sae, Session, Token
from mechtui.session.grammar.words import LineError, short
from mechtui.session.hook_edits import Decoder, EditError, HookEdits, Steering
from mechtui.session.prompt import Prompt, Surroundings
from mechtui.session.resolve import resolve
from mechtui.views import parse_question, spec_of


class ScriptError(ValueError):
    """What no program can do: one sentence."""


# What an MLP reads, and the same before the norm's weights.
MLP_IN, NORMALIZED = "mlp.hook_in", "ln2.hook_normalized"
NO_PATHS = "a program of linear mode holds what is read of the stream, and has no paths"


class NoHookError(ScriptError):
    """What mechtui can do and a program cannot."""


@dataclass(frozen=True)
class Around:
    """What lines may be written from, besides the question: the session, the model's shape, and the prompt's tokens,
    with BOS where the run has it; those of the source, and each position's partner there, -1 for none. begins: whether
    the model's texts begin with BOS where nobody says otherwise. folded: whether the numbers on the screen are of
    folded weights; the program's never are. native: whether TransformerLens builds the model itself. traced: whether
    the program is for nnsight. name: the model's. left_out: edits that cannot be made, by their index, and why.
    dictionaries: of features, by what the session calls them."""

    session: Session
    shape: ModelShape
    tokens: Sequence[Token]
    source: Sequence[Token] = ()
    alignment: Sequence[int] = ()
    begins: bool = True
    folded: bool = False
    native: bool = False
    traced: bool = False
    name: str = "the model"
    left_out: Mapping[int, str] = field(default_factory=dict)
    dictionaries: Mapping[str, About] = field(default_factory=dict)

    def position(self, position: int) -> int:
        """A position from either end as an index from 0."""
        return position + len(self.tokens) if position < 0 else position

    def target(self, position: int) -> list[str]:
        """Lines after which `answer` and `foil` are the target's ids at this position, None for one that is not named.
        Without a target the clean run's two best tokens stand in."""
        texts = (self.session.answer, self.session.foil)
        if not any(texts):
            return [f"answer, foil = clean_logits[0, {position}].topk(2).indices.tolist()"]
        named = zip(("answer", "foil"), texts, strict=True)
        return [
            f"[{name}] = tokenizer.encode({quoted(text)}, add_special_tokens=False)" if text else f"{name} = None"
            for name, text in named
        ]

    def hook_edits(self, edit: Edit) -> HookEdits:
        """What an edit does on this prompt. Raises ScriptError where it cannot be made, and NoHookError where no
        program can make it."""
        if self.session.vector(edit.vector) is not None:
            self.vector(edit.vector)
        ids, texts = (tuple(getattr(token, field) for token in self.tokens) for field in ("id", "text"))
        surroundings = Surroundings(
            self,
            tuple(Steering(vector) for vector in self.session.vectors),
            tuple(token.id for token in self.source),
            tuple(self.alignment),
            # As tokens nobody needs them here; that there are some decides what a mean is.
            tuple(() for _ in self.session.references),
            self._decoder,
        )
        try:
            found = resolve(edit, Prompt(ids, texts, len(ids)), surroundings)
        except EditError as error:
            raise ScriptError(str(error)) from error
        if self.native and any(each.hook.endswith("hook_attn_scores") for each in found):
            raise NoHookError(f"TransformerLens does not show the scores of {self.name}, so no program edits them")
        if self.traced and any(each.is_pattern for each in found):
            raise NoHookError("pattern and scores are no module's output, and nnsight sets what modules give and take")
        if self.traced and any(each.sender is not None for each in found):
            raise NoHookError("what one part reads is no module's input, and nnsight sets what modules give and take")
        if self.session.linear and any(each.sender is not None for each in found):
            raise NoHookError(NO_PATHS)
        return found

    @cached_property
    def made(self) -> tuple[HookEdits | ScriptError, ...]:
        """What each edit of the session does, on or off, or why it cannot be made."""
        found: list[HookEdits | ScriptError] = []
        for index, edit in enumerate(self.session.edits):
            try:
                found.append(ScriptError(self.left_out[index]) if index in self.left_out else self.hook_edits(edit))
            except ScriptError as error:
                found.append(error)
        return tuple(found)

    def about(self, name: str) -> About:
        """The dictionary of features that the session calls so, with the program's names of what it reads and writes.
        Raises NoHookError where it is not known, or the program has no such place."""
        if name not in self.dictionaries:
            raise NoHookError(f"how the dictionary {short(name)} is read is not known")
        about = self.dictionaries[name]
        if not self.folded or not about.reads.endswith(MLP_IN):
            return about
        if about.writes.endswith(MLP_IN):
            raise NoHookError(f"a program has raw weights, and {name} writes what folded ones read, which are centred")
        # What folded weights read is what raw ones have before the norm's own.
        if self.traced:
            raise NoHookError(f"what a norm makes before its weights is no module's output, and {name} reads that")
        return replace(about, reads=about.reads.replace(MLP_IN, NORMALIZED))

    def dictionary(self, name: str) -> str:
        """What the program calls it. Raises NoHookError where it has none."""
        self.about(name)
        return f"dictionary_{[*self.dictionaries].index(name)}"

    def _decoder(self, name: str) -> Decoder:
        about = self.about(name)
        return Decoder(Sae(name, about.file), about.reads, about.writes, about.layer, about.features)

    def vector(self, name: str) -> str:
        """What the steering vector of this name is called in the program. Raises ScriptError where it is a feature that
        there is none of."""
        known = self.session.vector(name)
        if known is not None and known.source == "feature":
            about = self.about(known.sae)
            if known.index >= about.features:
                last = about.features - 1
                raise ScriptError(f"there is no feature {known.index}: those of {known.sae} are 0 to {last:,}")
        return f"vector_{[vector.name for vector in self.session.vectors].index(name)}"


def _as_others(answer: Mapping[str, Any]) -> float:
    return 1.0


@dataclass(frozen=True)
class ViewLines:
    """How the program answers a view's question. body: of a function of one run. each_run: whether it is asked of the
    edited run too. problem: why it does not answer it, else empty. says: what the view shows, in a sentence or two.
    omits, looser: as in a view's file."""

    body: Sequence[str] = ()
    each_run: bool = True
    problem: str = ""
    says: str = ""
    omits: Sequence[str] = ()
    looser: Callable[[Mapping[str, Any]], float] = _as_others


def seen_values(layer: int, group: int) -> list[str]:
    """Lines after which `values` [pos, d_head] is what a key-value group's heads read."""
    return [
        f'values = cache["blocks.{layer}.attn.hook_v"][0, :, {group}].float()',
        'clip = getattr(getattr(bridge.original_model, "config", None), "clip_qkv", None)',
        "values = values if clip is None else values.clamp(-clip, clip)  # some models do, behind the hook",
    ]


# Lines after which `through(norm, x)` is what a norm does to every stream alike, for x [..., d_model] that reads it.
THROUGH = (
    'centres = bridge.cfg.normalization_type.startswith("LN")',
    "",
    "def through(norm, x):",
    "    # [..., d_model] times what a norm does to every stream alike: its weight, and centring",
    '    weight = getattr(norm, "weight", None)',
    "    x = x if weight is None else x * (weight + 1 if bridge.cfg.rmsnorm_uses_offset else weight)",
    "    return x - x.mean(-1, keepdim=True) if centres and norm is not None else x",
    "",
)
# Lines after which `times` is the factor on the logits that some models have.
FACTOR = (
    "# A factor on the logits, which some models have; of a cap, which is none, nothing is said.",
    'behind = getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)',
    "small, large = (1.0, 1e4) if behind is None else behind(torch.tensor([1.0, 1e4])).tolist()",
    "times = small if abs(large - 1e4 * small) <= 1e-3 * abs(large) else 1.0",
)


def quoted(text: str) -> str:
    """A text as a Python string, in which everything can be seen; in double quotes where it has none itself."""
    written = repr(text)
    return written if '"' in text else f'"{written[1:-1]}"'


def scripts(views: Iterable[str], around: Around) -> dict[str, ViewLines]:
    """Question line -> how the program answers it, or why it does not. views: lines; by each the answers of both runs,
    as `mechtui run` prints them, where they are known."""
    found = {}
    answers = views if isinstance(views, Mapping) else {}
    for line in views:
        try:
            question = parse_question(line).asked()
            view = spec_of(question)
            module = importlib.import_module(f"mechtui.views.{view.name}.script")
            given = answers.get(line)
            known = given is not None and hasattr(module, "lines_of")
            found[line] = ViewLines(
                module.lines_of(question, around, given) if known else module.lines(question, around),
                module.each_run(question) if hasattr(module, "each_run") else getattr(module, "EACH_RUN", True),
                says=view.shows,
                omits=module.omits(question) if hasattr(module, "omits") else getattr(module, "OMITS", ()),
                looser=partial(module.looser, question, around) if hasattr(module, "looser") else _as_others,
            )
        except (LineError, ScriptError) as error:
            found[line] = ViewLines(problem=str(error))
    return found

"""What mechtui says of a model beside what the model's own modules say, for every view and every edit.

Everything is compared with `mechtui.selftest.plain` and the edits of `tests.engine.reference`: plain hooks and loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.errors import ModelError
from mechtui.export.program import Exported, program
from mechtui.export.script import script
from mechtui.link.messages import Load
from mechtui.selftest import plain
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.views import Answer, parse_question
from mechtui.views.tokens import Tokens
from mechtui.worker.models.load import load
from tests.engine import reference

PROMPT = "When Mary and John went to the store, John gave a drink to"
SOURCE = "When Mary and John went to the store, Mary gave a drink to"
VECTOR = 'v = diff L1.pre "Love" "Hate"'
CLOSE = 1e-4

HEAD_OPS = ("zero", "mean", "resample", "patch", "freeze", "scale {} x-2", "noise {} sd2 seed5")
STREAM_OPS = (*HEAD_OPS, "add {} v x3", "project {} v")
TABLE_OPS = (*(op for op in HEAD_OPS if op != "resample"), "cut")
GROUPS = {
    "z": ("L1H1-2", HEAD_OPS),
    "q": ("L1H1.q", HEAD_OPS),
    "k": ("L1H0.k", HEAD_OPS),
    "v": ("L1H0.v", HEAD_OPS),
    "pattern": ("L1H1-2.pattern", TABLE_OPS),
    "scores": ("L1H1-2.scores", TABLE_OPS),
    "attn": ("L1.attn", STREAM_OPS),
    "mlp": ("L1.mlp", STREAM_OPS),
    "neuron": ("L1N3-9", HEAD_OPS),
    "pre": ("L1.pre", STREAM_OPS),
    "mid": ("L1.mid", STREAM_OPS),
    "post": ("L0.post", STREAM_OPS),
    "embed": ("embed", STREAM_OPS),
    "pos": ("pos", STREAM_OPS),
}
VIEWS = ("logits", "residual", "attention", "lens", "attribution", "sweep", "generation", "program", "folded")
# What is compared again of the model with its norms' weights folded in (`--fold-ln`): the same numbers.
FOLDED = ("logits", "residual", "attention", "lens", "attribution", "sweep", "z", "q", "k", "v", "pattern", "scores",
          "attn", "mlp", "pre")  # fmt: skip
# What an exported program proves of every model.
PROVED = ("attribution", "attribution L1H1", "attribution L1.mlp", "heads copying", "vectors", "composition V",
          "composition K", "circuit L1H1", "attention L0H1 value", "attention L1H2 scores", "lens", "bigrams mlps",
          "neurons L1 activation top4")  # fmt: skip
COLUMNS = (*VIEWS, *GROUPS)


@dataclass
class Cell:
    """What came out of the comparisons of one kind: how many were right, what was wrong, and by the sentence of the
    refusal what was refused."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)

    def near(self, what: str, got: Any, expected: Any, atol: float = CLOSE) -> None:
        got, expected = (np.asarray(each, dtype=np.float64) for each in (got, expected))
        if got.shape != expected.shape:
            self.wrong.append(f"{what}: shape {got.shape} for {expected.shape}")
            return
        hidden = np.isnan(got) != np.isnan(expected)
        difference = np.nan_to_num(np.abs(got - expected))
        limit = atol * max(1.0, float(np.nan_to_num(np.abs(expected)).max(initial=0.0)))
        if hidden.any():
            self.wrong.append(f"{what}: {int(hidden.sum())} cells are blank in one and not in the other")
        elif float(difference.max(initial=0.0)) > limit:
            self.wrong.append(f"{what}: off by {difference.max():.2g}")
        else:
            self.right += 1

    def refuse(self, sentence: str, what: str = "") -> None:
        """what: a part of what was compared; nothing for all of it."""
        parts = self.refused.setdefault(sentence, [])
        if what not in parts:
            parts.append(what)


class Grid:
    """One model folder's comparisons."""

    def __init__(self, folder: Path, folded: bool = False) -> None:
        from transformers import AutoModelForCausalLM

        self.folder = folder
        self.model = load(Load(str(folder), device="cpu", fold_ln=folded), lambda *_: None, lambda: False)
        self.engine = Engine(self.model)
        self.plain = AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        ).eval()
        self.ids = self.model.encode(PROMPT, "no")
        self.source = self.model.encode(SOURCE, "no")
        self.clean_logits, self.clean = self.reference(())
        self.vector = self._vector()
        self.shape = self.model.shape

    def _vector(self) -> Tensor:
        rows = [plain.run(self.plain, self.model.encode(text, "no"))[1]["pre", 1][-1] for text in ("Love", "Hate")]
        return rows[0] - rows[1]

    def reference(self, edits: Sequence[str], ids: Sequence[int] | None = None) -> tuple[Tensor, reference.Activations]:
        return reference.run(
            None,
            self.ids if ids is None else ids,
            [parse_edit(line) for line in edits],
            source_ids=self.source,
            vectors={"v": self.vector} if edits else None,
            forward=lambda of, act: plain.run(self.plain, of.tolist(), act)[0],
        )

    def session(self, *edits: str) -> Session:
        return Session(
            prompt=PROMPT, source=SOURCE, answer=" Mary", foil=" John", bos="no", vectors=(parse_vector(VECTOR),),
            edits=tuple(parse_edit(line) for line in edits),
        )  # fmt: skip

    def answers(self, line: str, *edits: str) -> tuple[Answer, Answer | None]:
        opened = self.engine.open(self.session(*edits))
        if opened.problems:
            raise SessionError(opened.problems[0].sentence)
        *_, (clean, edited, _) = opened.answer(parse_question(line))
        assert clean is not None
        return clean, edited

    def cells(self, wanted: Sequence[str] = COLUMNS) -> Iterator[tuple[str, Cell]]:
        for name in wanted:
            cell = Cell()
            compare: Callable[[Cell], None] = getattr(self, f"_{name}", lambda cell, name=name: self._edits(name, cell))
            try:
                compare(cell)
            except SessionError as error:
                cell.refuse(str(error))
            yield name, cell

    # The views

    def _logits(self, cell: Cell) -> None:
        cell.near("logits", self.engine.open(self.session()).clean.logits(), self.clean_logits)
        answer: Any = self.answers("next_tokens")[0]
        last = self.clean_logits[-1]
        ids = [each.token.id for each in answer.top]
        cell.near("next tokens", ids, last.topk(len(ids)).indices)
        cell.near("probabilities", [each.prob for each in answer.top], last.softmax(-1)[ids])

    def _residual(self, cell: Cell) -> None:
        n = self.shape.n_layers
        for edits in ((), ("scale L0H1 x3",)):
            kept = self.reference(edits)[1]
            answer: Any = self.answers("residual", *edits)[bool(edits)]
            stream = [kept["pre", layer] for layer in range(n)] + [kept["post", n - 1]]
            cell.near("residual", answer.norm, torch.stack(stream).norm(dim=-1))
            for what in ("attn", "mlp"):
                expected = torch.stack([kept[what, layer] for layer in range(n)]).norm(dim=-1)
                cell.near(f"what {what} writes", getattr(answer, what), expected)

    def _attention(self, cell: Cell) -> None:
        for edits in ((), ("scale L0.pre x0.5",)):
            kept = self.reference(edits)[1]
            for layer, head in ((0, 1), (1, 0), (1, 3)):
                scores, pattern = kept["scores", layer][head], kept["pattern", layer][head]
                seen = scores > -torch.inf
                group = head * self.shape.n_kv_heads // self.shape.n_heads
                value = pattern * kept["v", layer][:, group].norm(dim=-1)
                tables = {"": pattern, " scores": scores, " value": value / value.sum(-1, keepdim=True)}
                for what, expected in tables.items():
                    answer: Any = self.answers(f"attention L{layer}H{head}{what}", *edits)[bool(edits)]
                    hidden = torch.where(seen, expected, torch.nan)
                    cell.near(f"attention L{layer}H{head}{what}", answer.table, hidden)

    def _lens(self, cell: Cell) -> None:
        last = self.shape.n_layers - 1
        answer: Any = self.answers("lens")[0]
        for layer in range(self.shape.n_layers):
            kept = self.clean["post", layer]
            logits, _ = plain.run(
                self.plain, self.ids, lambda site, at, x, kept=kept: kept if (site, at) == ("post", last) else x
            )
            cell.near(f"lens L{layer}", answer.prob[layer], logits.softmax(-1).max(-1).values)
            cell.near(f"lens L{layer} tokens", answer.top[layer], logits.argmax(-1))

    def _attribution(self, cell: Cell) -> None:
        wanted, foil = self.model.single(" Mary"), self.model.single(" John")
        for edits in ((), ("zero L0H1",), ("scale L1.mlp x2",), ("scale L1.attn x2", "zero L0.mlp")):
            logits = self.reference(edits)[0][-1]
            answer: Any = self.answers("attribution", *edits)[bool(edits)]
            by_part = answer.parts
            parts = [np.nansum(by_part.heads), np.nansum(by_part.mlps), by_part.embed, by_part.pos, by_part.bias]
            cell.near(f"attribution {edits}", answer.total, float(logits[wanted] - logits[foil]), 1e-3)
            cell.near(f"its parts {edits}", sum(parts) + by_part.edits, answer.total, 1e-3)
            if "scale L1.attn x2" not in edits:  # what is added there, no component wrote
                cell.near(f"its share of edits {edits}", by_part.edits, 0, 1e-3)
            head: Any = self.answers("attribution L1H1", *edits)[bool(edits)]
            cell.near(f"L1H1 {edits}", head.parts.tokens.sum() + head.parts.bias, by_part.heads[1, 1], 1e-3)
            if self.shape.has_neurons:
                mlp: Any = self.answers("attribution L1.mlp", *edits)[bool(edits)]
                named = mlp.parts.values.sum() + mlp.parts.rest + mlp.parts.bias + mlp.parts.edits
                cell.near(f"L1.mlp {edits}", named, by_part.mlps[1], 1e-3)

    def _sweep(self, cell: Cell) -> None:
        wanted, foil = self.model.single(" Mary"), self.model.single(" John")

        def difference(logits: Tensor) -> float:
            return float(logits[-1, wanted] - logits[-1, foil])

        baseline = difference(self.clean_logits)
        answer: Any = self.answers("sweep zero L*H*")[0]
        for layer, head in ((0, 0), (0, 3), (1, 1)):
            logits, _ = self.reference((f"zero L{layer}H{head}",))
            cell.near(f"sweep zero L{layer}H{head}", answer.values[layer, head], difference(logits) - baseline)
        source = difference(self.reference((), self.source)[0])
        answer = self.answers("sweep patch L*.pre")[0]
        for layer, position in ((0, 10), (1, 10), (1, 12)):
            logits, _ = self.reference((f"patch L{layer}.pre @{position}",))
            expected = (difference(logits) - baseline) / (source - baseline)
            cell.near(f"sweep patch L{layer}.pre @{position}", answer.values[layer, position], expected, 1e-3)
        effects: Any = self.answers("effects", "zero L0H2", "scale L1.mlp x3", "noise embed @3 sd2")[0]
        for number, line in enumerate(("zero L0H2", "scale L1.mlp x3", "noise embed @3 sd2")):
            logits, _ = self.reference((line,))
            cell.near(f"effect of {line}", effects.effect[number], difference(logits) - baseline)

    def _generation(self, cell: Cell) -> None:
        for edits in ((), ("scale L1H1 x-2",), ("zero L1H1.pattern @3",)):
            ids = list(self.ids)
            while len(ids) < len(self.ids) + 4:
                best = int(self.reference(edits, ids)[0][-1].argmax())
                if best == self.model.tokenizer.eos_token_id:
                    break
                ids.append(best)
            answer: Any = self.answers("generate 4", *edits)[bool(edits)]
            cell.near(f"generation {edits}", [token.id for token in answer.tokens], ids[len(self.ids) :])

    def _program(self, cell: Cell) -> None:
        stacks = {
            "z, attn, mlp, pre": ("zero L1H1 @-1", "scale L0.attn x2", "scale L1.mlp x3", "add L1.pre @2 v x2"),
            "q, k, v": ("scale L0.attn x2", "mean L1H0.v", "zero L0H0.q"),
            "pattern, scores": ("mean L1H1.pattern", "noise L0H1.scores sd0.5"),
            "cut": ("scale L1.mlp x3", "cut L0H0-1 -1>10-11"),
        }
        for what, edits in stacks.items():
            try:
                cell.near(f"program {edits}", self._program_says(edits), self.reference(edits)[0])
            except SystemExit as error:
                cell.refuse(str(error), what)
        self._proof(cell)

    def _proof(self, cell: Cell) -> None:
        """Views whose numbers go by how a model's norms, values and logits are made, in a program that compares them
        with the engine's."""
        shown: dict[str, Any] = {}
        edits = ("scale L1.mlp x3",)
        for line in PROVED:
            with suppress(SessionError):  # refused, as in its own column
                shown[line] = tuple(None if each is None else each.json() for each in self.answers(line, *edits))
        try:
            self._program_says(edits, shown)
            cell.right += 1
        except SystemExit as error:
            cell.refuse(str(error), "pattern, scores")
        except AssertionError as error:
            cell.wrong.append(str(error))

    def _folded(self, cell: Cell) -> None:
        """What is refused of the raw weights, too, is said there."""
        try:
            folded = Grid(self.folder, folded=True)
        except ModelError as error:
            cell.refuse(str(error))
            return
        for name, found in folded.cells(FOLDED):
            cell.right += found.right
            cell.wrong += [f"{name}: {each}" for each in found.wrong]
            for sentence in found.refused:
                cell.refuse(sentence, name)
        meant: Any = [grid.answers("vectors")[0] for grid in (self, folded)]
        for side in ("raises", "lowers"):
            one, two = ([(token.id, change) for token, change in getattr(each.vectors[0], side)] for each in meant)
            cell.near(f"vectors: what v {side}", two, one)

    def _program_says(self, edits: Sequence[str], shown: Mapping[str, Any] = MappingProxyType({})) -> Tensor:
        session = self.session(*edits)
        opened = self.engine.open(session)
        [(tokens, _, _)] = opened.answer(Tokens())
        text = script(program(Exported(session, self.model.ready, tokens, shown)))  # type: ignore[arg-type]
        names: dict[str, Any] = {}
        grad = torch.is_grad_enabled()
        try:
            with redirect_stdout(StringIO()):
                exec(compile(text, "exported", "exec"), names)
        finally:
            torch.set_grad_enabled(grad)
        logits: Tensor = names["edited_logits"][0]
        return logits

    # The edits

    def _edits(self, group: str, cell: Cell) -> None:
        for edits in stacks(group):
            opened = self.engine.open(self.session(*edits))
            if opened.problems:
                cell.refuse(opened.problems[0].sentence, edits[-1].partition(" ")[0])
                continue
            edited = opened.edited
            assert edited is not None
            expected, _ = self.reference(edits)
            cell.near(" + ".join(edits), edited.logits(), expected)
            if edits[-1].startswith("freeze") or edits[-1] == "patch pos":
                continue
            if float((expected - self.clean_logits).abs().max()) < 10 * CLOSE:
                cell.wrong.append(f"{edits[-1]}: changes nothing, so that nothing was compared")


def stacks(group: str) -> Iterator[tuple[str, ...]]:
    """Every op at this kind of site, each with what must go before it to mean something."""
    site, ops = GROUPS[group]
    for op in ops:
        if op == "cut":
            heads = site.partition(".")[0]
            for edge in ("-1>10-11", "*>2", "7-10>6 raw"):
                line = f"cut {heads} {edge}"
                if _parses(line):
                    yield (line,)
            continue
        line = op.format(site) if "{}" in op else f"{op} {site}"
        before = ("scale embed @2 x3",) if op == "freeze" else ()
        if _parses(line):
            yield (*before, line)


def _parses(line: str) -> bool:
    try:
        parse_edit(line)
    except LineError:
        return False
    return True


__all__ = ["COLUMNS", "Cell", "Grid", "ModelError", "stacks"]

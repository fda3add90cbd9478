"""Ops on a path: what one receiver reads of the residual stream, with one sender's write taken away or replaced.

`cut-path L5H5>L8H6.q`. The sender is a head, `L5.attn`, `L5.mlp`, `embed` or `pos`; the receiver a head's `.q`, `.k` or
`.v`, or `L8.mlp`. Only what the receiver reads is another: all that lies between stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from mechtui.session import sites
from mechtui.session.document import Edit, Site, Vector
from mechtui.session.grammar.places import format_site, parse_site
from mechtui.session.grammar.words import LineError, Words, short
from mechtui.session.hook_edits import EditError, Sender
from mechtui.session.op import Choice, Op
from mechtui.session.prompt import NamedModel

# The parts that read the stream through a norm, and TransformerLens's names of what they read.
READS = {"q": "hook_q_input", "k": "hook_k_input", "v": "hook_v_input", "mlp": "hook_mlp_in"}
_OF_MLP = re.compile(r"(L[0-9*-]+\.mlp)\.[qkv]")


def parse_path(text: str, line: str, column: int) -> tuple[Site, Site]:
    """`L5H5>L8H6.q` -> sender, receiver. line, column: where it stands. Raises LineError."""
    before, arrow, behind = text.partition(">")
    if not (before and arrow and behind):
        problem = f"{short(text)} should be SENDER>RECEIVER, as in L5H5>L8H6.q, L3.mlp>L8H6.k or L5H5>L8.mlp"
        raise LineError(line, column, problem)
    at = column + len(before) + 1
    sender, receiver = parse_sender(before, line, column), parse_receiver(behind, line, at)
    if why := _never(sender, receiver):
        raise LineError(line, column, why)
    return sender, receiver


def parse_sender(text: str, line: str, column: int) -> Site:
    """What can write: `L5H5`, `L5.attn`, `L5.mlp`, `embed`, `pos`. Raises LineError."""
    sender = parse_site(text, line=line, column=column)
    if not (sender.kind in ("embed", "pos") or sender.part in ("z", "attn", "mlp")):
        problem = f"{short(text)} sends nothing by itself; a sender is a head (L5H5), L5.attn, L5.mlp, embed or pos"
        raise LineError(line, column, problem)
    return sender


def parse_receiver(text: str, line: str, column: int) -> Site:
    """What can read: `L8H6.q`, `L8H6.k`, `L8H6.v`, `L8.mlp`. Raises LineError."""
    if match := _OF_MLP.fullmatch(text):
        raise LineError(line, column, f"an MLP has no queries, keys or values: write {match[1]}")
    receiver = parse_site(text, line=line, column=column)
    if receiver.part == "z":
        problem = f"{short(text)} reads by its queries, its keys and its values: write {text}.q, {text}.k or {text}.v"
        raise LineError(line, column, problem)
    if receiver.part not in READS:
        problem = f"{short(text)} does not read the residual stream; a receiver is L8H6.q, L8H6.k, L8H6.v or L8.mlp"
        raise LineError(line, column, problem)
    return receiver


def format_path(sender: Site, receiver: Site) -> str:
    return f"{format_site(sender)}>{format_site(receiver)}"


def writes_before(sender: Site, at: int, receiver: Site, layer: int) -> bool:
    """Whether what a sender in layer `at` writes is there when the receiver in `layer` reads: attention also writes
    before the MLP of its own layer reads."""
    return at < layer or (at == layer and receiver.part == "mlp" and sender.part in ("z", "attn"))


def _never(sender: Site, receiver: Site) -> str:
    """Why a path is none, whatever the model; empty where it may be one. `*` stands for those that can be."""
    if sender.kind in ("embed", "pos"):
        return ""
    last = sender.layers.first if sender.layers.last is None else sender.layers.last
    first = last + 1 if receiver.layers.last is None else receiver.layers.first
    if sender.layers.last is None and receiver.layers.last is not None:
        first = receiver.layers.last
    return "" if writes_before(sender, last, receiver, first) else _too_late(sender, receiver)


def _too_late(sender: Site, receiver: Site) -> str:
    names = format_site(sender), format_site(receiver)
    return f"{names[0]} writes nothing that {names[1]} could read: a sender stands in an earlier layer"


class PathOp(Op):
    """site: the receiver; sender: of `Edit`."""

    def parse_site(self, words: Words) -> tuple[Site, dict[str, Any]]:
        word = words.next("SENDER>RECEIVER, as in L5H5>L8H6.q,")
        sender, receiver = parse_path(word, words.line, words.column)
        return receiver, {"sender": sender}

    def format_site(self, edit: Edit) -> str:
        assert edit.sender is not None
        return format_path(edit.sender, edit.site)

    def sites(self, word: str) -> Sequence[Choice] | None:
        sender, arrow, receiver = word.partition(">")
        if arrow:
            stem, dot, _ = receiver.partition(".")
            mlp = [(f"{stem if stem and 'H' not in stem else 'L8'}.mlp", sites.LAYER["mlp"].note)]
            head = [(f"{stem if 'H' in stem else 'L8H6'}.{part}", sites.HEAD[part].note) for part in ("q", "k", "v")]
            reads = (head if "H" in stem else mlp) if dot else [*head, *mlp]
            return [(f"{sender}>{name}", note) for name, note in reads if _is_path(f"{sender}>{name}")]
        stem = sender.partition(".")[0] if sender.startswith("L") and len(sender) > 1 else "L5H5"
        layer = stem.partition("H")[0]
        return [
            (f"{stem if 'H' in stem else f'{layer}H0'}>", "a head, and then what reads it"),
            (f"{layer}.attn>", sites.LAYER["attn"].note),
            (f"{layer}.mlp>", sites.LAYER["mlp"].note),
            ("embed>", sites.EMBED.note),
            ("pos>", sites.POS.note),
        ]

    def choices(self, argument: Sequence[str], vectors: Sequence[Vector], tokens: Sequence[Choice]) -> Sequence[Choice]:
        return ()

    def hooks(self, edit: Edit, model: NamedModel) -> list[tuple[str, int, dict[str, Any]]]:
        sender, receiver, shape = edit.sender, edit.site, model.shape
        assert sender is not None
        if receiver.part == "mlp" and not shape.has_mid:
            both = "attention and MLP read the same residual"
            raise EditError(f"in {model.name} {both}, so that no path ends in its MLPs alone")
        heads = sites.members(sender, shape) if sender.kind == "head" else None
        found = [
            (f"blocks.{layer}.{READS[receiver.part or '']}", layer, {"sender": Sender(hook, at, heads)})
            for layer in receiver.layers.within(shape.n_layers)
            for hook, at in sites.hooks(sender, shape)
            if writes_before(sender, at, receiver, layer)
        ]
        if not found:
            raise EditError(_too_late(sender, receiver))
        return found


def _is_path(text: str) -> bool:
    try:
        parse_path(text, text, 0)
    except LineError:
        return False
    return True


def path_edit(op: str, sender: Site, receiver: Site, **more: Any) -> Edit:
    """The edit of one path."""
    return replace(Edit(op, receiver, sender=sender), **more)

"""A session as a Python program for TransformerLens that makes the same edits, each under its own line.

The program needs torch and transformer-lens, not mechtui. Positions are written as numbers, so that it says
exactly what was done.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from mechtui.session.document import Edit, ModelShape, Positions, Session, Site, Span, Token, TokenPlaces, Vector
from mechtui.session.lines import format_edit, format_site, format_vector

HOOKS = {
    **{part: f"attn.hook_{part}" for part in ("z", "q", "k", "v", "pattern")},
    **{part: f"hook_resid_{part}" for part in ("pre", "mid", "post")},
    "scores": "attn.hook_attn_scores",
    "attn": "hook_attn_out",
    "mlp": "hook_mlp_out",
}

HEAD = '''\
"""The logits of a prompt, clean and with the edits of a mechtui session."""

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = {model}
tokenizer = AutoTokenizer.from_pretrained(MODEL)
plain = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
torch.set_grad_enabled(False)


def encode(text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    return torch.tensor([{bos}ids])


tokens = encode({prompt})
model_logits = plain(tokens[None]).logits
try:
    bridge = TransformerBridge.boot_transformers(MODEL, hf_model=plain, device="cpu")
except AssertionError as problem:
    raise SystemExit(f"TransformerLens cannot take {{MODEL}} apart by itself, so no program edits it") from problem
clean_logits, clean = bridge.run_with_cache(tokens)
if not torch.allclose(clean_logits, model_logits, atol=1e-3, rtol=1e-3):
    raise SystemExit(f"TransformerLens computes other logits for {{MODEL}} than transformers: no program edits it")
hooks = []
around = []
'''

# A model may clip what its projections give; the bridge's hooks lie before that.
CLIPPED = """\

if getattr(plain.config, "clip_qkv", None):
    raise SystemExit(f"{MODEL} clips q, k and v, which TransformerLens shows unclipped: no program edits them")
"""

# What an edit of resid_mid changes has to reach the residual stream too, and before any edit of resid_post.
MID = '''\

def at_mid(layer, edit):
    """The bridge's hook_resid_mid lies on the way into the second norm; the residual stream goes around it."""
    added = []

    def change(x, hook):
        changed = edit(x, hook)
        added[:] = [changed - x]
        return changed

    around.append((f"blocks.{layer}.hook_resid_post", lambda x, hook: x + added[0]))
    return f"blocks.{layer}.hook_resid_mid", change

'''

# What a query does not see has a score, too, the least there is: nothing may act on that.
TABLE = '''\

def seen(hook):
    """[query, key]: whether the query sees the key."""
    scores = clean[hook.name.replace("hook_pattern", "hook_attn_scores")][0, 0]
    return scores > torch.finfo(scores.dtype).min / 2


# Some attentions the bridge shows and does not compute: what an edit changes there is lost.
blank = [("blocks.0.attn.hook_pattern", lambda x, hook: torch.zeros_like(x))]
if torch.equal(bridge.run_with_hooks(tokens, fwd_hooks=blank), clean_logits):
    raise SystemExit(f"TransformerLens drops edits at pattern and scores and cuts of {MODEL}, so no program makes them")

'''

TAIL = """
hooks = around + hooks
with bridge.hooks(fwd_hooks=hooks):
    edited_logits, edited = bridge.run_with_cache(tokens)
for name, logits in (("clean", clean_logits), ("edited", edited_logits)):
    best = logits[0, -1].softmax(-1).topk(5)
    print(name, [(bridge.tokenizer.decode([i]), round(p, 3)) for p, i in zip(*(x.tolist() for x in best))])
"""

# What the session's views show, of each run. `answers` holds it for whoever runs the program from another.
VIEWS = """
torch.set_printoptions(precision=4, sci_mode=False)
answers = {}
clean_run = clean_logits[0], clean, []
"""
EDITED = "edited_run = edited_logits[0], edited, hooks\n"
PRINTED = """
for (run, line), numbers in answers.items():
    print(run, line, numbers)
"""


class ViewLines(NamedTuple):
    """How the program answers a view's question. body: of a function of one run, as mechtui.views.script says.
    each_run: whether it is asked of the edited run too."""

    body: Sequence[str]
    each_run: bool = True


class ScriptError(ValueError):
    """An edit that means nothing for this model and prompt, so that no program can make it: one sentence."""


def script(
    session: Session,
    shape: ModelShape,
    tokens: Sequence[Token],
    *,
    place: str,
    bos: bool,
    source: Sequence[Token] = (),
    alignment: Sequence[int] = (),
    folded: bool = False,
    views: Mapping[str, ViewLines] = MappingProxyType({}),
) -> str:
    """The program. place: what transformers loads (a hub id or a folder). tokens, source: those of the prompts,
    with BOS where `bos` is True; alignment: the source position per position, -1 for none. folded: whether
    the session's numbers come from folded weights; the program's never do. views: question line -> how it is
    answered. Raises ScriptError."""
    head = HEAD.format(model=repr(place), bos="tokenizer.bos_token_id, *" if bos else "*", prompt=repr(session.prompt))
    parts = [head]
    edits = session.active_edits()
    if any(edit.op in ("patch", "resample") for edit in edits):
        if not source:
            raise ScriptError("patch and resample take their values from a source prompt, and the session has none")
        parts.append(f"_, source = bridge.run_with_cache(encode({session.source!r}))\n")
    if session.references and any(edit.op == "mean" for edit in edits):
        parts.append(
            f"references = [bridge.run_with_cache(encode(text))[1] for text in {list(session.references)!r}]\n"
        )
    used = {edit.vector for edit in edits if edit.op in ("add", "project")}
    for name in used - {vector.name for vector in session.vectors}:
        raise ScriptError(f"there is no steering vector {name}")
    bodies = "\n".join(line for view in views.values() for line in view.body)
    used |= {vector.name for number, vector in enumerate(session.vectors) if re.search(rf"\bvector_{number}\b", bodies)}
    for vector in session.vectors:
        if folded and vector.name in used and vector.source == "token":
            raise ScriptError(
                f"{format_vector(vector)} is read from folded weights and the program loads raw ones, where it is "
                "another vector: load the model without folding"
            )
    parts += [_vector(number, vector) for number, vector in enumerate(session.vectors) if vector.name in used]
    names = {vector.name: f"vector_{number}" for number, vector in enumerate(session.vectors)}
    if any(edit.site.part == "mid" for edit in edits):
        parts.append(MID)
    if any(edit.site.part in ("q", "k", "v") for edit in edits):
        parts.append(CLIPPED)
    if any(two_axes(edit) for edit in edits):
        parts.append(TABLE)
    writer = _Writer(session, shape, tokens, len(source), alignment, names, place)
    parts += [writer.edit(number, edit) for number, edit in enumerate(edits, 1)]
    return "\n".join(parts) + TAIL + (_views(views, bool(edits)) if views else "")


def _views(views: Mapping[str, ViewLines], edited: bool) -> str:
    """A function for each question line, and what they say of each run."""
    parts = [VIEWS + (EDITED if edited else "")]
    for number, (line, view) in enumerate(views.items(), 1):
        body = textwrap.indent("\n".join(view.body), "    ")
        parts.append(f"\n\n# {line}\ndef view_{number}(logits, cache, fwd_hooks):\n{body}\n\n\n")
        for run in ("clean", "edited") if edited and view.each_run else ("clean",):
            parts.append(f"answers[{run!r}, {line!r}] = view_{number}(*{run}_run)\n")
    return "".join(parts) + PRINTED


def _vector(number: int, vector: Vector) -> str:
    name = f"vector_{number}"
    hook = f"blocks.{vector.layer}.{HOOKS[vector.part]}"

    def read(text: str) -> str:
        which = f"[0, {vector.position}]" if vector.position is not None else "[0].mean(0)"
        return f"bridge.run_with_cache(encode({text!r}))[1][{hook!r}]{which}"

    match vector.source:
        case "diff":
            pairs = ",\n".join(f"    {read(a)} - {read(b)}" for a, b in vector.pairs)
            body = f"{name} = torch.stack([\n{pairs},\n]).mean(0)"
        case "pca":
            rows = ",\n".join(f"    {read(text)}" for text in vector.texts)
            body = (
                f"rows = torch.stack([\n{rows},\n])\n"
                f"{name} = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][0]\n"
                f"{name} = {name} * torch.sign({name}[{name}.abs().argmax()])"
            )
        case "neuron":
            body = (
                f"W_out = bridge.blocks[{vector.layer}].mlp.W_out\n"
                "W_out = W_out if W_out.shape == (bridge.cfg.d_mlp, bridge.cfg.d_model) else W_out.T\n"
                f"{name} = W_out[{vector.index}]"
            )
        case "token":
            body = (
                "W_U = bridge.unembed.W_U\n"
                "W_U = W_U if W_U.shape[0] == bridge.cfg.d_model else W_U.T\n"
                f"{name} = W_U[:, tokenizer.encode({vector.texts[0]!r}, add_special_tokens=False)[0]]"
            )
        case "file":
            body = (
                "import pathlib\n\nfrom safetensors.torch import load_file\n\n"
                f"{name} = load_file(pathlib.Path({vector.path!r}).expanduser())[{vector.key!r}].float()"
            )
    unit = f"\n{name} = {name} / {name}.norm()" if vector.unit else ""
    return f"# {format_vector(vector)}\n{body}{unit}\n"


class _Writer:
    """Writes the hook function of one edit after another."""

    def __init__(
        self,
        session: Session,
        shape: ModelShape,
        tokens: Sequence[Token],
        n_source: int,
        alignment: Sequence[int],
        names: dict[str, str],
        place: str,
    ) -> None:
        self.session = session
        self.shape = shape
        self.tokens = tokens
        self.n_source = n_source
        self.alignment = list(alignment)
        self.names = names
        self.place = place

    def edit(self, number: int, edit: Edit) -> str:
        """A comment with the line, a function, and where it is hooked."""
        function = f"edit_{number}"
        hook, layers = self._hook(edit)
        loop, pick = self._parts(edit)
        body = "\n".join(self._body(edit, pick))
        lines = [f"part = x{pick}", body] if pick else ["part = x", body]
        inside = "\n".join(lines)
        inside = f"for {loop}:\n{textwrap.indent(inside, '    ')}" if loop else inside
        if edit.site.part == "mid":
            hooked = f"hooks += [at_mid(layer, {function}) for layer in {layers}]"
        elif layers:
            hooked = f"hooks += [(f{hook!r}, {function}) for layer in {layers}]"
        else:
            hooked = f"hooks += [({hook!r}, {function})]"
        first = "x, before = x.clone(), x" if two_axes(edit) else "x = x.clone()"
        last = "return torch.where(seen(hook), x, before)" if two_axes(edit) else "return x"
        indented = textwrap.indent(f"{first}\n{inside}\n{last}", "    ")
        return f"\n# {format_edit(edit)}\ndef {function}(x, hook):\n{indented}\n\n\n{hooked}\n"

    def _hook(self, edit: Edit) -> tuple[str, list[int]]:
        """(hook name with {layer} in it, layers); no layers for the embeddings."""
        site = edit.site
        if site.kind in ("embed", "pos"):
            return ("hook_embed" if site.kind == "embed" else "hook_pos_embed"), []
        layers = self._members(site.layers, self.shape.n_layers, "layer", edit)
        if site.kind == "neuron":
            return "blocks.{layer}.mlp.hook_post", layers
        return "blocks.{layer}." + HOOKS["pattern" if edit.op == "cut" else site.part or "z"], layers

    def _parts(self, edit: Edit) -> tuple[str, str]:
        """(loop over heads or neurons, the index that picks one as [batch, pos, width]); empty for whole sites."""
        site = edit.site
        if site.kind == "head":
            groups = site.part in ("k", "v")
            count = self.shape.n_kv_heads if groups else self.shape.n_heads
            heads = self._members(site.index, count, "key-value group" if groups else "head", edit)
            return f"head in {heads}", "[:, head]" if two_axes(edit) else "[:, :, head]"
        if site.kind == "neuron":
            neurons = self._members(site.index, self.shape.d_mlp, "neuron", edit)
            return f"neuron in {neurons}", "[:, :, neuron : neuron + 1]"
        return "", ""

    def _body(self, edit: Edit, pick: str) -> Iterator[str]:
        if edit.op == "cut":
            yield from self._cut(edit)
            return
        where = self._positions(edit.positions, edit)
        table = two_axes(edit)
        match edit.op:
            case "zero":
                yield f"part[:, {where}] = 0"
            case "scale":
                yield f"part[:, {where}] *= {edit.factor!r}"
            case "mean" if table:
                yield f"for q in {where}:"
                yield "    keys = seen(hook)[q]"
                yield "    part[:, q, keys] = part[:, q, keys].mean(-1, keepdim=True)"
            case "mean" if self.session.references:
                yield f"every = torch.cat([cache[hook.name]{pick} for cache in references], dim=1)"
                yield f"part[:, {where}] = every.mean(1, keepdim=True)"
            case "mean":
                yield f"part[:, {where}] = part.mean(1, keepdim=True)"
            case "freeze":
                yield f"part[:, {where}] = clean[hook.name]{pick}[:, {where}]"
            case "resample":
                yield f"r = np.random.default_rng({edit.seed}).integers(0, {self.n_source}, size={len(self.tokens)})"
                yield f"part[:, {where}] = source[hook.name]{pick}[:, r[{where}]]"
            case "patch":
                yield from self._patch(edit, where, pick)
            case "noise":
                yield from self._noise(edit, where)
            case "add":
                yield f"part[:, {where}] += {edit.factor!r} * {self.names[edit.vector]}"
            case "project":
                yield f"unit = {self.names[edit.vector]} / {self.names[edit.vector]}.norm()"
                yield f"part[:, {where}] -= (part[:, {where}] @ unit)[..., None] * unit"

    def _patch(self, edit: Edit, where: list[int], pick: str) -> Iterator[str]:
        wanted = range(max(where, default=-1) + 1) if two_axes(edit) else where
        for position in wanted:
            if self.alignment[position] < 0:
                raise ScriptError(f"{format_edit(edit)}: position {position} has no partner in the source")
        partners = [self.alignment[position] for position in where]
        if two_axes(edit):
            yield f"partners = {[self.alignment[position] for position in wanted]}"
            yield f"for q in {where}:"
            yield f"    part[:, q, : q + 1] = source[hook.name]{pick}[:, partners[q]][:, partners[: q + 1]]"
        else:
            yield f"part[:, {where}] = source[hook.name]{pick}[:, {partners}]"

    def _noise(self, edit: Edit, where: list[int]) -> Iterator[str]:
        yield f"n = np.random.default_rng({edit.seed}).standard_normal(part.shape[1:]).astype(np.float32)"
        if two_axes(edit):
            yield f"sd = {edit.sd!r} * part[:, seen(hook)].std(correction=0)"
            yield f"part[:, {where}] += sd * torch.from_numpy(n)[{where}]"
        else:
            yield f"part[:, {where}] += {edit.sd!r} * part.std(correction=0) * torch.from_numpy(n)[{where}]"

    def _cut(self, edit: Edit) -> Iterator[str]:
        assert edit.edge is not None
        keys = self._positions(edit.edge.keys, edit)
        edges = {q: [k for k in keys if k <= q] for q in self._positions(edit.edge.queries, edit)}
        yield f"for q, keys in { ({q: seen for q, seen in edges.items() if seen}) }.items():"
        yield "    part[:, q, keys] = 0"
        if not edit.edge.raw:
            yield "    rest = part[:, q].sum(-1, keepdim=True)"
            yield "    part[:, q] /= torch.where(rest != 0, rest, 1)"

    def _members(self, span: Span, count: int, what: str, edit: Edit) -> list[int]:
        top = span.first if span.last is None else span.last
        if top >= count:
            site = format_site(edit.site)
            raise ScriptError(f"{format_edit(edit)}: {self.place} has no {site}: its {what}s are 0 to {count - 1}")
        return list(span.within(count))

    def _positions(self, positions: Positions, edit: Edit) -> list[int]:
        count = len(self.tokens)
        if not positions.items:
            return list(range(count))
        found: set[int] = set()
        for item in positions.items:
            if isinstance(item, TokenPlaces):
                places = [i for i, token in enumerate(self.tokens) if token.text == item.text]
                places = places if item.nth is None else places[item.nth - 1 : item.nth]
            else:
                first, last = (p + count if p < 0 else p for p in (item.first, item.last))
                places = list(range(first, last + 1)) if first >= 0 and last < count else []
            if not places:
                raise ScriptError(f"{format_edit(edit)}: the prompt has no such position")
            found.update(places)
        return sorted(found)


def two_axes(edit: Edit) -> bool:
    """Whether the edit acts on a table of query by key."""
    site: Site = edit.site
    return edit.op == "cut" or (site.kind == "head" and site.part in ("pattern", "scores"))

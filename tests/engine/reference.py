"""The same numbers by other means: plain Hugging Face modules, plain loops, no hooks, no bridge.

`run` walks a GPT2LMHeadModel or a LlamaForCausalLM module by module (its embeddings, norms, projections and
activation functions; attention is written out here) and lets every edit act at its place. Nothing of
mechtui.worker is used: only the parsed `Edit` structs. It is slow and meant to be read.

Activations are kept under (name, layer): q, k, v, z [pos, head, d_head] (q, k, v before rotary embeddings; k, v
have one head per key-value group), scores and pattern [head, query, key], neuron [pos, d_mlp], and attn, mlp,
pre, mid, post, embed, pos [pos, d_model] (embed and pos under layer 0); q_input, k_input, v_input [pos, head, d_model]
and mlp_in [pos, d_model] are what they read of the stream, before the norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechtui.session.document import Edge, Edit, Positions, Range

Place = tuple[str, int]
Activations = dict[Place, Tensor]
Act = Callable[[str, int, Tensor], Tensor]


@dataclass
class Block:
    """One block as plain functions; without an MLP `norm_2`, `read` and `down` are None.
    `qkv`: normed residual -> q, k, v. `rotate`: q or k with its positions in.
    `read`: normed residual -> the input of the MLP's down projection."""

    norm_1: Callable[[Tensor], Tensor]
    qkv: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    rotate: Callable[[Tensor], Tensor]
    scale: float
    write: Callable[[Tensor], Tensor]
    norm_2: Callable[[Tensor], Tensor] | None = None
    read: Callable[[Tensor], Tensor] | None = None
    down: Callable[[Tensor], Tensor] | None = None


@dataclass
class Parts:
    """A whole model as plain functions of token ids."""

    embed: Callable[[Tensor], Tensor]
    pos: Callable[[Tensor], Tensor] | None
    blocks: list[Block]
    final: Callable[[Tensor], Tensor]


def gpt2_parts(model: Any) -> Parts:
    config, body = model.config, model.transformer

    def block(layer: Any) -> Block:
        def qkv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            w, b = layer.attn.c_attn.weight, layer.attn.c_attn.bias
            q, k, v = (x @ w + b).view(len(x), 3, config.n_head, -1).unbind(1)
            return q, k, v

        return Block(
            norm_1=layer.ln_1,
            qkv=qkv,
            rotate=lambda x: x,
            scale=(config.n_embd // config.n_head) ** -0.5,
            write=lambda z: z.flatten(1) @ layer.attn.c_proj.weight + layer.attn.c_proj.bias,
            norm_2=layer.ln_2,
            read=lambda x: layer.mlp.act(x @ layer.mlp.c_fc.weight + layer.mlp.c_fc.bias),
            down=lambda x: x @ layer.mlp.c_proj.weight + layer.mlp.c_proj.bias,
        )

    return Parts(
        embed=lambda ids: body.wte.weight[ids],
        pos=lambda ids: body.wpe.weight[: len(ids)],
        blocks=[block(layer) for layer in body.h],
        final=lambda x: body.ln_f(x) @ model.lm_head.weight.T,
    )


def llama_parts(model: Any) -> Parts:
    config, body = model.config, model.model
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    theta = config.rope_parameters["rope_theta"]

    def rotate(x: Tensor) -> Tensor:
        """Turn each pair (i, i + d_head/2) of a head by position * theta^(-2i/d_head)."""
        frequency = 1.0 / theta ** (torch.arange(0, d_head, 2).float() / d_head)
        angle = (torch.arange(len(x)).float()[:, None] * frequency)[:, None, :]
        a, b = x[..., : d_head // 2], x[..., d_head // 2 :]
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)

    def block(layer: Any) -> Block:
        def qkv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            q, k, v = (
                linear(x).view(len(x), -1, d_head)
                for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
            )
            return q, k, v

        return Block(
            norm_1=layer.input_layernorm,
            qkv=qkv,
            rotate=rotate,
            scale=d_head**-0.5,
            write=lambda z: layer.self_attn.o_proj(z.flatten(1)),
            norm_2=layer.post_attention_layernorm,
            read=lambda x: layer.mlp.act_fn(layer.mlp.gate_proj(x)) * layer.mlp.up_proj(x),
            down=layer.mlp.down_proj,
        )

    return Parts(
        embed=lambda ids: body.embed_tokens.weight[ids],
        pos=None,
        blocks=[block(layer) for layer in body.layers],
        final=lambda x: model.lm_head(body.norm(x)),
    )


def attention_only_parts(network: Any) -> Parts:
    """Of the embedded models without MLPs (mechtui.embedded.network.Network)."""

    def block(layer: Any) -> Block:
        def qkv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            q, k, v = (x @ layer.c_attn + layer.c_attn_bias).view(len(x), 3, layer.n_heads, -1).unbind(1)
            return q, k, v

        return Block(
            norm_1=layer.ln_1,
            qkv=qkv,
            rotate=lambda x: x,
            scale=network.shape.d_head**-0.5,
            write=lambda z: z.flatten(1) @ layer.c_proj + layer.c_proj_bias,
        )

    return Parts(
        embed=lambda ids: network.wte[ids],
        pos=lambda ids: network.wpe[: len(ids)],
        blocks=[block(layer) for layer in network.h],
        final=lambda x: network.ln_f(x) @ network.unembed.T,
    )


def parts_of(model: Any) -> Parts:
    if hasattr(model, "h"):
        return attention_only_parts(model)
    return gpt2_parts(model) if hasattr(model, "transformer") else llama_parts(model)


def _forward(parts: Parts, ids: Tensor, act: Act) -> Tensor:
    """Logits [pos, vocab]; every activation passes through `act`, which may change it."""
    n = len(ids)
    visible = torch.ones(n, n, dtype=torch.bool).tril()
    x = act("embed", 0, parts.embed(ids))
    if parts.pos is not None:
        x = x + act("pos", 0, parts.pos(ids))
    for i, block in enumerate(parts.blocks):
        x = act("pre", i, x)
        q, k, v = (
            act(name, i, _read_by_head(name, block, x, given, partial(act, f"{name}_input", i)))
            for name, given in zip("qkv", block.qkv(block.norm_1(x)), strict=True)
        )
        group = q.shape[1] // k.shape[1]
        turned_q, turned_k = block.rotate(q), block.rotate(k)
        scores = torch.stack([turned_q[:, h] @ turned_k[:, h // group].T * block.scale for h in range(q.shape[1])])
        scores = act("scores", i, scores.masked_fill(~visible, -torch.inf))
        pattern = act("pattern", i, scores.softmax(dim=-1))
        heads = [pattern[h] @ v[:, h // group] for h in range(q.shape[1])]
        z = act("z", i, torch.stack(heads, dim=1))
        x = act("mid", i, x + act("attn", i, block.write(z)))
        if block.norm_2 is not None and block.read is not None and block.down is not None:
            hidden = act("neuron", i, block.read(block.norm_2(act("mlp_in", i, x))))
            x = x + act("mlp", i, block.down(hidden))
        x = act("post", i, x)
    return parts.final(x)


def _read_by_head(name: str, block: Block, x: Tensor, given: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """Queries, keys or values `given` [pos, head, d_head] of the stream x, or what they are where a head reads another
    one."""
    every = x[:, None].expand(-1, given.shape[1], -1)
    reads = act(every)
    if reads is every:
        return given
    at = "qkv".index(name)
    return torch.stack([block.qkv(block.norm_1(reads[:, h]))[at][:, h] for h in range(given.shape[1])], dim=1)


# What edits do


def resolve(positions: Positions, n: int, texts: Sequence[str] | None = None, end: int | None = None) -> list[int]:
    """Positions -> sorted indices below n. Token places need the text of every token. The prompt has the first `end`
    of the n tokens (all, without it), the rest was generated: only "all" means those, too."""
    if not positions.items:
        return list(range(n))
    end = n if end is None else end
    found: set[int] = set()
    for item in positions.items:
        if isinstance(item, Range):
            first, last = (p + end if p < 0 else p for p in (item.first, item.last))
            assert 0 <= first <= last < end, f"{item} does not fit {end} positions"
            found.update(range(first, last + 1))
        else:
            assert texts is not None, "token places need the texts of the tokens"
            places = [p for p, text in enumerate(texts[:end]) if text == item.text]
            found.update(places if item.nth is None else [places[item.nth - 1]])
    return sorted(found)


@dataclass
class Context:
    """What edits may draw on: clean runs of this prompt and of the source, the alignment, the vectors."""

    clean: Activations
    source: Activations
    alignment: Sequence[int]
    vectors: Mapping[str, Tensor]
    texts: Sequence[str] | None
    end: int
    references: Sequence[Activations] = ()

    def positions(self, positions: Positions, n: int) -> list[int]:
        return resolve(positions, n, self.texts, self.end)


def _name(edit: Edit) -> str:
    """The activation an edit acts on."""
    if edit.op == "cut":
        return "pattern"
    if edit.sender is not None:
        return "mlp_in" if edit.site.part == "mlp" else f"{edit.site.part}_input"
    if edit.site.kind in ("head", "layer"):
        assert edit.site.part is not None
        return edit.site.part
    return edit.site.kind


def _new_table(
    edit: Edit,
    x: Tensor,
    clean: Tensor,
    source: Tensor | None,
    context: Context,
    visible: Tensor | None,
    every: Tensor | None = None,
) -> Tensor:
    """What one edit makes of one table x [pos, width] (one head, one neuron, or a whole residual vector per
    position). `visible`: x is [query, key], of which only these count. `every`: the same of the reference
    prompts, all their positions, where there are some."""
    n, width = x.shape
    square = visible is not None
    if visible is None:
        visible = torch.ones(n, width, dtype=torch.bool)
    match edit.op:
        case "zero":
            return torch.zeros_like(x)
        case "mean":
            if square:
                means = [x[q, visible[q]].mean() for q in range(n)]
                return torch.stack(means)[:, None].expand(n, width)
            return (x if every is None else every).mean(dim=0).expand(n, width)
        case "resample":
            assert source is not None
            rows = np.random.default_rng(edit.seed).integers(0, len(source), size=n)
            return source[torch.from_numpy(rows)]
        case "patch":
            assert source is not None
            out = x.clone()
            for p in context.positions(edit.positions, n):
                if p >= context.end:
                    continue
                assert context.alignment[p] >= 0, f"position {p} has no partner"
                if square:
                    for k in range(p + 1):
                        assert context.alignment[k] >= 0, f"key {k} has no partner"
                        out[p, k] = source[context.alignment[p], context.alignment[k]]
                else:
                    out[p] = source[context.alignment[p]]
            return out
        case "freeze":
            out = x.clone()
            out[: context.end, : clean.shape[1]] = clean
            return out
        case "scale":
            return x * edit.factor
        case "clamp":
            return torch.full_like(x, edit.factor)
        case "noise":
            draw = np.random.default_rng(edit.seed).standard_normal((n, width)).astype(np.float32)
            return x + edit.sd * x[visible].std(correction=0) * torch.from_numpy(draw)
        case "add":
            return x + edit.factor * context.vectors[edit.vector]
        case "project":
            v = context.vectors[edit.vector]
            unit = v / v.norm()
            return x - (x @ unit)[:, None] * unit
        case "cut":
            edge = edit.edge or Edge()
            out = x.clone()
            keys = context.positions(edge.keys, n)
            for q in context.positions(edge.queries, n):
                seen = [k for k in keys if k <= q]
                out[q, seen] = 0
                if seen and not edge.raw and out[q].sum() != 0:
                    out[q] = out[q] / out[q].sum()
            return out


def _apply(edit: Edit, place: Place, x: Tensor, context: Context, visible: Tensor | None) -> Tensor:
    """`visible` [head, query, key]: which keys a query sees, for scores and patterns."""
    name = place[0]
    square = name in ("scores", "pattern")
    out = x.clone()
    if name in ("q", "k", "v", "z"):
        count, cell = x.shape[1], lambda t, i: t[:, i]
    elif square:
        count, cell = x.shape[0], lambda t, i: t[i]
    elif name == "neuron":
        count, cell = x.shape[1], lambda t, i: t[:, i : i + 1]
    else:
        count, cell = 1, lambda t, i: t
    members = edit.site.index.within(count) if edit.site.kind in ("head", "neuron") else range(1)
    n = x.shape[1] if square else len(x)
    rows = context.positions((edit.edge or Edge()).queries if edit.op == "cut" else edit.positions, n)
    for i in members:
        source = context.source.get(place)
        new = _new_table(
            edit,
            cell(x, i),
            cell(context.clean[place], i),
            None if source is None else cell(source, i),
            context,
            visible[i] if visible is not None else None,
            every=torch.cat([cell(each[place], i) for each in context.references])
            if context.references and visible is None
            else None,
        )
        for p in rows:
            which = visible[i, p] if visible is not None else slice(None)
            cell(out, i)[p, which] = new[p, which]
    return out


def _apply_paths(
    edits: Sequence[Edit], place: Place, x: Tensor, now: Activations, context: Context, parts: Parts
) -> Tensor:
    """x [pos, head, d_model] or [pos, d_model]: what is read at a place, with what the paths that end there make of it.
    now: the run so far. A path that several edits name is one path, and a layer's attention holds its heads' paths."""
    name, layer = place
    out = x.clone()
    cells = range(x.shape[1]) if x.dim() == 3 else [None]
    done: set[tuple[Any, ...]] = set()

    def write(of: Activations, kind: str, at: int, head: int | None) -> Tensor:
        if head is None:
            return of[kind, at]
        z = torch.zeros_like(of["z", at])
        nothing = parts.blocks[at].write(z)
        z[:, head] = of["z", at][:, head]
        return parts.blocks[at].write(z) - nothing

    for edit in sorted(edits, key=lambda each: each.sender.kind == "head"):
        sender = edit.sender
        kind = {"head": "z", "layer": sender.part}.get(sender.kind, sender.kind)
        layers = [0] if kind in ("embed", "pos") else sender.layers.within(len(parts.blocks))
        for at in layers:
            if kind not in ("embed", "pos") and not (
                at < layer or (at == layer and name == "mlp_in" and kind in ("z", "attn"))
            ):
                continue
            for head in sender.index.within(now["z", at].shape[1]) if kind == "z" else [None]:
                new = -write(now, kind, at, head).clone()
                for p in context.positions(edit.positions, len(x)):
                    if edit.op == "patch-path" and p >= context.end:
                        continue
                    if edit.op == "patch-path":
                        assert context.alignment[p] >= 0, f"position {p} has no partner"
                        new[p] += write(context.source, kind, at, head)[context.alignment[p]]
                    for cell in cells:
                        if cell is not None and cell not in edit.site.index.within(x.shape[1]):
                            continue
                        key = (kind, at, head, p, cell)
                        if key in done or (kind == "z" and ("attn", at, None, p, cell) in done):
                            continue
                        done.add(key)
                        out[(p,) if cell is None else (p, cell)] += new[p]
    return out


def _acts_at(edit: Edit, place: Place, n_layers: int) -> bool:
    name, layer = place
    if _name(edit) != name:
        return False
    return edit.site.kind in ("embed", "pos") or layer in edit.site.layers.within(n_layers)


# The two things that tests ask for


@torch.no_grad()
def run(
    model: Any,
    ids: Sequence[int],
    edits: Sequence[Edit] = (),
    *,
    source_ids: Sequence[int] | None = None,
    alignment: Sequence[int] | None = None,
    vectors: Mapping[str, Any] | None = None,
    texts: Sequence[str] | None = None,
    end: int | None = None,
    references: Sequence[Sequence[int]] = (),
    forward: Callable[[Tensor, Act], Tensor] | None = None,
) -> tuple[Tensor, Activations]:
    """Logits [pos, vocab] and all activations of one run with those of `edits` that are on.

    `alignment` [pos]: position in the source, -1 without partner; by default position p meets position p.
    `texts` [pos]: what token places are compared with. `end`: where the prompt ends, if more was generated.
    `references`: ids of the prompts whose means `mean` takes.
    `forward`: the model's forward, where it is not one of those written out here.
    """
    parts = None
    if forward is None:
        parts = parts_of(model)
        forward = partial(_forward, parts)
    active = [edit for edit in edits if edit.on]
    tokens = torch.tensor(list(ids))

    def walk(of: Tensor, change: Callable[[Place, Tensor, Activations], Tensor]) -> tuple[Tensor, Activations]:
        kept: Activations = {}

        def act(name: str, layer: int, x: Tensor) -> Tensor:
            x = change((name, layer), x, kept)
            kept[name, layer] = x.clone()  # some models add to their activations in place
            return x

        return forward(of, act), kept

    def unchanged(place: Place, x: Tensor, now: Activations) -> Tensor:
        return x

    logits, clean = walk(tokens, unchanged)
    if not active:
        return logits, clean
    if end is not None:
        clean = walk(tokens[:end], unchanged)[1]
    source = walk(torch.tensor(list(source_ids)), unchanged)[1] if source_ids is not None else {}
    context = Context(
        clean=clean,
        source=source,
        alignment=range(len(tokens)) if alignment is None else alignment,
        vectors={name: torch.as_tensor(np.asarray(vector)) for name, vector in (vectors or {}).items()},
        texts=texts,
        end=len(tokens) if end is None else end,
        references=[walk(torch.tensor(list(each)), unchanged)[1] for each in references],
    )

    n_layers = max(layer for _, layer in clean) + 1
    visible: dict[int, Tensor] = {}

    def edited(place: Place, x: Tensor, now: Activations) -> Tensor:
        name, layer = place
        if name == "scores":
            visible[layer] = x > -torch.inf
        paths = [edit for edit in active if edit.sender is not None and _acts_at(edit, place, n_layers)]
        if paths:
            assert parts is not None, "paths need a model that is written out here"
            x = _apply_paths(paths, place, x, now, context, parts)
        for edit in active:
            if edit.sender is None and _acts_at(edit, place, n_layers):
                x = _apply(edit, place, x, context, visible[layer] if name in ("scores", "pattern") else None)
        return x

    return walk(tokens, edited)


def logits(model: Any, ids: Sequence[int], edits: Sequence[Edit] = (), **rest: Any) -> Tensor:
    """Logits [pos, vocab] of a run with `edits`; the rest as in `run`."""
    return run(model, ids, edits, **rest)[0]


def head_scores(model: Any, ids: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """The scores of Olsson et al. (2022), [layer, head] each, query by query from transformers' own attention weights
    on texts [text, pos] that end in n tokens said twice. No score but `first` counts attention to position 0."""
    with torch.no_grad():
        attentions = model(torch.from_numpy(ids), output_attentions=True, use_cache=False).attentions
    pattern = np.stack([each.double().numpy() for each in attentions]).mean(1)
    end = ids.shape[1]
    second = range(end - n, end)
    rows: dict[str, list[np.ndarray]] = {
        "induction": [pattern[:, :, t, t - n + 1] for t in second],
        "duplicate": [pattern[:, :, t, t - n] for t in second if t != n],
        "previous": [pattern[:, :, t, t - 1] for t in range(2, end)],
        "first": [pattern[:, :, t, 0] for t in second],
    }
    return {name: np.mean(each, axis=0) for name, each in rows.items()}


def gradients(
    model: Any, ids: Sequence[int], of: Callable[[Tensor], Tensor], pre: Tensor | None = None
) -> tuple[Activations, Activations]:
    """All activations of a run without edits, and at each of them the gradient of a number that `of` makes of the
    logits [pos, vocab]. pre: what enters the first block instead of the embeddings."""
    kept: Activations = {}

    def act(name: str, layer: int, x: Tensor) -> Tensor:
        if pre is not None and (name, layer) == ("pre", 0):
            x = pre
        kept[name, layer] = x = x.detach().requires_grad_() if not x.requires_grad else x.clone()
        return x

    with torch.enable_grad():
        number = of(_forward(parts_of(model), torch.tensor(list(ids)), act))
        found = torch.autograd.grad(number, list(kept.values()), allow_unused=True)
    return (
        {place: x.detach() for place, x in kept.items()},
        {place: torch.zeros_like(x) if g is None else g for (place, x), g in zip(kept.items(), found, strict=True)},
    )

"""A Hugging Face model's own forward, with every activation seen and changed by hand.

Nothing of the engine is used and nothing of transformer-lens: the model runs its eager attention, torch's hooks stand
at its own modules, and scores and patterns are met where the attention takes its softmax. What the engine, its views
and an exported program say is compared with this.

Sites, as docs/lines.md names them: embed, pos, pre, mid, post, attn, mlp [pos, d_model] (embed and pos in layer 0),
neuron [pos, d_mlp], q, k, v, z [pos, head, d_head] (q and k before norms and rotation; k, v have one head per
key-value group; where the model clips them, after that), scores, pattern [head, query, key] (scores of keys that a
query does not see are -inf). attn and mlp are what the block adds to the residual stream: after a post-norm, times a
residual multiplier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.softmax import softmax_stood_in

Place = tuple[str, int]
Activations = dict[Place, Tensor]
# (site, layer, value) -> the value that goes on.
Act = Callable[[str, int, Tensor], Tensor]


@dataclass(frozen=True)
class Family:
    """Where the modules of one architecture lie; empty where it has none.

    embed, pos, blocks: within the model. The rest within a block. qkv: the three projections, or the fused one.
    mid: the module that reads the residual between attention and MLP. attn_out, mlp_out: whose output is added to the
    residual, times `times`; the embedding's is multiplied by `embed_times`.
    """

    blocks: str = "model.layers"
    embed: str = "model.embed_tokens"
    pos: str = ""
    attn: str = "self_attn"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    o: str = "self_attn.o_proj"
    attn_out: str = "self_attn.o_proj"
    mid: str = "post_attention_layernorm"
    down: str = "mlp.down_proj"
    mlp_out: str = "mlp.down_proj"
    times: float = 1.0
    embed_times: float = 1.0


_LLAMA = Family()
_GPT2 = Family(
    "transformer.h", "transformer.wte", "transformer.wpe", "attn", ("attn.c_attn",), "attn.c_proj", "attn.c_proj",
    "ln_2", "mlp.c_proj", "mlp.c_proj",
)  # fmt: skip
_BLOOM = Family(
    "transformer.h", "transformer.word_embeddings", "", "self_attention", ("self_attention.query_key_value",),
    "self_attention.dense", "self_attention.dense", "post_attention_layernorm", "mlp.dense_4h_to_h",
    "mlp.dense_4h_to_h",
)  # fmt: skip
_SANDWICH = replace(
    _LLAMA,
    attn_out="post_attention_layernorm",
    mid="pre_feedforward_layernorm",
    mlp_out="post_feedforward_layernorm",
)
FAMILIES: dict[str, Family] = {
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gptj": Family(
        "transformer.h", "transformer.wte", "", "attn", ("attn.q_proj", "attn.k_proj", "attn.v_proj"),
        "attn.out_proj", "attn.out_proj", "", "mlp.fc_out", "mlp.fc_out",
    ),
    "gpt_neo": Family(
        "transformer.h", "transformer.wte", "transformer.wpe", "attn.attention",
        ("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
        "attn.attention.out_proj", "attn.attention.out_proj", "ln_2", "mlp.c_proj", "mlp.c_proj",
    ),
    "gpt_neox": Family(
        "gpt_neox.layers", "gpt_neox.embed_in", "", "attention", ("attention.query_key_value",), "attention.dense",
        "attention.dense", "post_attention_layernorm", "mlp.dense_4h_to_h", "mlp.dense_4h_to_h",
    ),
    "opt": Family(
        "model.decoder.layers", "model.decoder.embed_tokens", "model.decoder.embed_positions", "self_attn",
        _LLAMA.qkv, "self_attn.out_proj", "self_attn.out_proj", "final_layer_norm", "fc2", "fc2",
    ),
    "bloom": replace(_BLOOM, embed="transformer.word_embeddings_layernorm"),
    "falcon": _BLOOM,
    "mpt": Family(
        "transformer.blocks", "transformer.wte", "", "attn", ("attn.Wqkv",), "attn.out_proj", "attn.out_proj",
        "norm_2", "ffn.down_proj", "ffn.down_proj",
    ),
    "phi": replace(
        _LLAMA, o="self_attn.dense", attn_out="self_attn.dense", mid="", down="mlp.fc2", mlp_out="mlp.fc2"
    ),
    "phi3": replace(_LLAMA, qkv=("self_attn.qkv_proj",)),
    "starcoder2": replace(_LLAMA, down="mlp.c_proj", mlp_out="mlp.c_proj"),
    "mixtral": replace(_LLAMA, down="", mlp_out="mlp"),
    "gemma2": _SANDWICH,
    "gemma3_text": _SANDWICH,
    "olmo2": replace(_SANDWICH, mid="mlp"),
    "cohere": replace(_LLAMA, mid=""),
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma", "olmo", "stablelm", "smollm3", "granite"), _LLAMA
    ),
}  # fmt: skip


def family(model: Any) -> Family | None:
    """Where this model's modules lie; None for an architecture that is not described here."""
    config = model.config
    found = FAMILIES.get(config.model_type)
    if found is None:
        return None
    parallel = (
        getattr(config, "use_parallel_residual", False)
        or (config.model_type == "falcon" and (config.parallel_attn or config.new_decoder_architecture))
    )  # fmt: skip
    if parallel:
        found = replace(found, mid="")
    if config.model_type == "opt" and not config.do_layer_norm_before:
        # Norms stand behind the additions here, so that no sum of writes is the residual: it has no mid.
        found = replace(found, mid="")
    times, embed_times = (
        float(getattr(config, f"{what}_multiplier", None) or 1.0) for what in ("residual", "embedding")
    )
    return replace(found, times=times, embed_times=embed_times)


def sizes(model: Any) -> tuple[int, int, int]:
    """(heads, key-value groups, width of a head)."""
    config = model.config

    def first(*names: str) -> int:
        return next((int(n) for name in names if (n := getattr(config, name, None))), 0)

    heads = first("num_attention_heads", "n_head", "n_heads", "num_heads")
    groups = first("num_key_value_heads") or heads
    if config.model_type in ("falcon", "gpt_bigcode"):
        groups = heads
        if getattr(config, "new_decoder_architecture", False):
            groups = config.num_kv_heads
        elif config.multi_query:
            groups = 1
    width = first("head_dim") or first("hidden_size", "n_embd", "d_model") // heads
    return heads, groups, width


@torch.no_grad()
def run(model: Any, ids: Sequence[int], act: Act | None = None) -> tuple[Tensor, Activations]:
    """Logits [pos, vocab], and every activation as it went on. act: sees them in the model's order, and may change
    them. Raises KeyError for an architecture that is not described."""
    where = family(model)
    if where is None:
        raise KeyError(model.config.model_type)
    kept: Activations = {}

    def pass_on(site: str, layer: int, value: Tensor) -> Tensor:
        value = value if act is None else act(site, layer, value)
        kept[site, layer] = value.clone()  # some models add to their activations in place
        return value

    with ExitStack() as stack:
        _watch(stack, model, where, pass_on)
        logits = model(torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0]
    return logits, kept


@torch.no_grad()
def logits(model: Any, ids: Sequence[int]) -> Tensor:
    """Logits [pos, vocab] of any model's own forward, with nothing standing in it."""
    own: Tensor = model(torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0]
    return own


def _watch(stack: ExitStack, model: Any, where: Family, act: Act) -> None:
    heads, groups, width = sizes(model)

    def at_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (change(args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": change(kwargs["hidden_states"])}

        stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

    def at_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        stack.callback(module.register_forward_hook(hook).remove)

    def flat(site: str, layer: int, times: float = 1.0) -> Callable[[Tensor], Tensor]:
        """[1, pos, width], or [pos, width] of a model that folds the batch away."""

        def change(value: Tensor) -> Tensor:
            told = value.reshape(-1, value.shape[-1])
            return (act(site, layer, told * times) / times if times != 1 else act(site, layer, told)).view_as(value)

        return change

    clip = getattr(model.config, "clip_qkv", None)

    def by_head(site: str, layer: int, count: int) -> Callable[[Tensor], Tensor]:
        def change(value: Tensor) -> Tensor:
            if clip and site != "z":
                value = value.clamp(-clip, clip)
            return act(site, layer, value.reshape(-1, count, width)).reshape_as(value)

        return change

    at_output(model.get_submodule(where.embed), flat("embed", 0, where.embed_times))
    if where.pos:
        at_output(model.get_submodule(where.pos), flat("pos", 0))
    for layer, block in enumerate(model.get_submodule(where.blocks)):
        at_input(block, flat("pre", layer))
        if len(where.qkv) == 1:
            at_output(block.get_submodule(where.qkv[0]), _fused(model.config, layer, act, (heads, groups, width)))
        else:
            for site, name in zip("qkv", where.qkv, strict=True):
                at_output(block.get_submodule(name), by_head(site, layer, heads if site == "q" else groups))
        stack.enter_context(_softmax_of(block.get_submodule(where.attn), layer, act, model.dtype))
        at_input(block.get_submodule(where.o), by_head("z", layer, heads))
        at_output(block.get_submodule(where.attn_out), flat("attn", layer, where.times))
        added: list[Tensor] = []
        if where.mid:
            at_input(block.get_submodule(where.mid), _noted(flat("mid", layer), added))
        if where.down:
            at_input(block.get_submodule(where.down), flat("neuron", layer))
        at_output(block.get_submodule(where.mlp_out), flat("mlp", layer, where.times))
        at_output(block, _with(added, flat("post", layer)))


def _noted(change: Callable[[Tensor], Tensor], added: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """The residual goes around the module that reads it: what a change adds there is noted."""

    def hook(value: Tensor) -> Tensor:
        changed = change(value)
        added[:] = [changed - value]
        return changed

    return hook


def _with(added: list[Tensor], change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda value: change(value + added[0].view_as(value) if added else value)


def _fused(config: Any, layer: int, act: Act, sizes: tuple[int, int, int]) -> Callable[[Tensor], Tensor]:
    """q, k and v of one projection's output, as each architecture lays them."""
    heads, groups, width = sizes
    kind = config.model_type

    def change(value: Tensor) -> Tensor:
        rows = value.reshape(-1, value.shape[-1])
        by_head = kind in ("gpt_neox", "bloom") or (kind == "gpt_bigcode" and not config.multi_query)
        by_group = False
        if kind == "falcon":
            by_group = config.new_decoder_architecture
            by_head = not by_group and not config.multi_query
        if by_head:  # [head, (q, k, v), d_head]
            q, k, v = rows.view(len(rows), heads, 3, width).unbind(2)
        elif by_group:  # [group, (q ..., k, v), d_head]
            each = rows.view(len(rows), groups, heads // groups + 2, width)
            q, k, v = each[:, :, :-2].flatten(1, 2), each[:, :, -2], each[:, :, -1]
        else:  # all of q, then of k, then of v
            q, k, v = torch.split(rows, [heads * width, groups * width, groups * width], dim=-1)
        counts = (heads, groups, groups)
        q, k, v = (
            act(site, layer, part.reshape(len(rows), count, width))
            for site, part, count in zip("qkv", (q, k, v), counts, strict=True)
        )
        if by_head:
            return torch.stack([q, k, v], dim=2).view_as(value)
        if by_group:
            q = q.view(len(rows), groups, -1, width)
            return torch.cat([q, k[:, :, None], v[:, :, None]], dim=2).view_as(value)
        return torch.cat([q.flatten(1), k.flatten(1), v.flatten(1)], dim=-1).view_as(value)

    return change


@contextmanager
def _softmax_of(attn: nn.Module, layer: int, act: Act, dtype: torch.dtype) -> Iterator[None]:
    """Within, the softmax that this attention takes lets its scores and its pattern pass `act`. dtype: of the mask."""
    own = attn.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with softmax_stood_in(lambda scores, softmax: _attend(scores, softmax, layer, act, dtype)):
            return own(*args, **kwargs)

    object.__setattr__(attn, "forward", forward)
    try:
        yield
    finally:
        object.__delattr__(attn, "forward")


def _attend(scores: Tensor, softmax: Callable[[Tensor], Tensor], layer: int, act: Act, dtype: torch.dtype) -> Tensor:
    told = scores.reshape(-1, *scores.shape[-2:])
    seen = told > max(torch.finfo(each).min for each in (scores.dtype, dtype)) / 2
    told = torch.where(seen, act("scores", layer, told.masked_fill(~seen, -torch.inf)), told)
    pattern = softmax(told.view_as(scores))
    return act("pattern", layer, pattern.reshape(-1, *scores.shape[-2:])).view_as(pattern)

"""The network as it is trained: GPT-2's layout, with or without MLPs, small enough to read at once.

transformers' GPT-2 does the same sums; this one leaves out what training a toy does not need, unembeds only the
positions whose loss counts, and writes the state dict of either GPT-2 (with MLPs) or TransformerLens's native
model (attention only).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu


@dataclass(frozen=True)
class Shape:
    """Sizes of a network. `d_mlp` 0: attention only, with an unembedding of its own."""

    n_layers: int = 4
    n_heads: int = 8
    d_model: int = 256
    d_mlp: int = 512
    n_ctx: int = 256
    n_vocab: int = 2048

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


class Block(nn.Module):
    """One layer; weights are [in, out], as GPT-2's."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, m = shape.d_model, shape.d_mlp
        self.n_heads = shape.n_heads
        self.ln_1 = nn.LayerNorm(d)
        self.c_attn = nn.Parameter(torch.empty(d, 3 * d))
        self.c_attn_bias = nn.Parameter(torch.zeros(3 * d))
        self.c_proj = nn.Parameter(torch.empty(d, d))
        self.c_proj_bias = nn.Parameter(torch.zeros(d))
        self.has_mlp = m > 0
        if self.has_mlp:
            self.ln_2 = nn.LayerNorm(d)
            self.c_fc = nn.Parameter(torch.empty(d, m))
            self.c_fc_bias = nn.Parameter(torch.zeros(m))
            self.mlp_proj = nn.Parameter(torch.empty(m, d))
            self.mlp_proj_bias = nn.Parameter(torch.zeros(d))

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [batch, head, pos, d_head]."""
        batch, pos, d = x.shape
        rows = torch.addmm(self.c_attn_bias, self.ln_1(x).view(-1, d), self.c_attn)
        q, k, v = rows.view(batch, pos, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        return q.contiguous(), k.contiguous(), v.contiguous()

    def _pattern(self, q: Tensor, k: Tensor) -> Tensor:
        future = torch.full((q.shape[2], k.shape[2]), -torch.inf).triu(1)
        weights: Tensor = ((q * q.shape[-1] ** -0.5) @ k.mT + future).softmax(-1)
        return weights

    def pattern(self, x: Tensor) -> Tensor:
        """[batch, pos, d_model] -> attention [batch, head, query, key]."""
        q, k, _ = self._heads(x)
        return self._pattern(q, k)

    def forward(self, x: Tensor, mlp: bool = True) -> Tensor:
        """[batch, pos, d_model] -> the same; with or without what the MLP writes."""
        batch, pos, d = x.shape
        q, k, v = self._heads(x)
        # Written out: at this size it is faster on a CPU than torch's fused attention, backwards above all.
        z = (self._pattern(q, k) @ v).transpose(1, 2).reshape(-1, d)
        x = x + torch.addmm(self.c_proj_bias, z, self.c_proj).view(batch, pos, d)
        if self.has_mlp and mlp:
            hidden = torch.addmm(self.c_fc_bias, self.ln_2(x).view(-1, d), self.c_fc)
            written = torch.addmm(self.mlp_proj_bias, gelu(hidden, approximate="tanh"), self.mlp_proj)
            x = x + written.view(batch, pos, d)
        return x


def sinusoids(positions: int, d_model: int) -> Tensor:
    """The position embeddings: waves of 6 to 600 positions, [position, d_model] (Vaswani et al. 2017).

    They are not learned. In waves "one position back" is a single rotation, which a head learns for all positions
    together; where they were learned a head came to look one back in some stretches and two back in others.
    """
    angles = torch.arange(positions)[:, None] / 100 ** (torch.arange(0, d_model, 2) / d_model)
    return 0.1 * torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class Network(nn.Module):
    """Token and position embeddings, blocks, final LayerNorm, unembedding."""

    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.wte = nn.Parameter(torch.empty(shape.n_vocab, shape.d_model))
        self.wpe = nn.Parameter(sinusoids(shape.n_ctx, shape.d_model), requires_grad=False)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.ln_f = nn.LayerNorm(shape.d_model)
        # The layers that run, with their attention alone; empty: all that there is.
        self.only: tuple[int, ...] = ()
        # GPT-2 reads and writes with the same matrix. Without MLPs a matrix of its own lets the direct path
        # hold bigrams ("A Mathematical Framework", zero-layer models).
        self.unembed = None if shape.d_mlp else nn.Parameter(torch.empty(shape.n_vocab, shape.d_model))
        self._start(seed)

    def _start(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and parameter.requires_grad:
                # What writes to the residual stream begins at zero, so that layers can join a trained network
                # without a disturbance.
                nn.init.normal_(parameter, std=0.0 if name.endswith("proj") else 0.02, generator=generator)
        if self.unembed is not None:
            # Writing a token begins as the inverse of reading it, so that copying need not be learned word by word.
            self.unembed.data = self.wte.data.clone()

    def residual(self, tokens: Tensor) -> Tensor:
        """Ids [batch, pos] -> the residual stream after the last block."""
        x = self.wte[tokens] + self.wpe[: tokens.shape[1]]
        for layer in self.only or range(self.shape.n_layers):
            x = self.h[layer](x, mlp=not self.only)
        return x

    def logits(self, residual: Tensor) -> Tensor:
        """[..., d_model] -> [..., vocab]."""
        head = self.wte if self.unembed is None else self.unembed
        return self.ln_f(residual) @ head.T  # type: ignore[no-any-return]

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids [batch, pos] -> logits [batch, pos, vocab]."""
        return self.logits(self.residual(tokens))

    def loss(self, tokens: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean loss in nats of predicting tokens[:, 1:]; `weights` is [batch, pos - 1].

        Only the positions that count are unembedded: of random repeats that is half.
        """
        counts = weights > 0
        logits = self.logits(self.residual(tokens[:, :-1])[counts])
        losses = cross_entropy(logits, tokens[:, 1:][counts], reduction="none")
        return (losses * weights[counts]).sum() / weights.sum()

    @torch.no_grad()
    def patterns(self, tokens: Tensor) -> Tensor:
        """Attention patterns [layer, batch, head, query, key]."""
        x = self.wte[tokens] + self.wpe[: tokens.shape[1]]
        patterns = []
        for block in self.h:
            assert isinstance(block, Block)
            patterns.append(block.pattern(x))
            x = block(x, mlp=not self.only)
        return torch.stack(patterns)

    def matrices(self) -> list[Tensor]:
        """The hidden matrices, which the optimiser treats as matrices."""
        return [p for n, p in self.named_parameters() if p.dim() == 2 and n.startswith("h.")]

    def others(self) -> list[Tensor]:
        """Embeddings that are learned, LayerNorms and biases."""
        return [p for n, p in self.named_parameters() if p.requires_grad and not (p.dim() == 2 and n.startswith("h."))]


def gpt2_state(network: Network) -> dict[str, Tensor]:
    """State dict of transformers' GPT2LMHeadModel, float16."""
    state: dict[str, Tensor] = {"transformer.wte.weight": network.wte, "transformer.wpe.weight": network.wpe}
    for layer, block in enumerate(network.h):
        assert isinstance(block, Block)
        at = f"transformer.h.{layer}"
        state |= {
            f"{at}.ln_1.weight": block.ln_1.weight,
            f"{at}.ln_1.bias": block.ln_1.bias,
            f"{at}.attn.c_attn.weight": block.c_attn,
            f"{at}.attn.c_attn.bias": block.c_attn_bias,
            f"{at}.attn.c_proj.weight": block.c_proj,
            f"{at}.attn.c_proj.bias": block.c_proj_bias,
            f"{at}.ln_2.weight": block.ln_2.weight,
            f"{at}.ln_2.bias": block.ln_2.bias,
            f"{at}.mlp.c_fc.weight": block.c_fc,
            f"{at}.mlp.c_fc.bias": block.c_fc_bias,
            f"{at}.mlp.c_proj.weight": block.mlp_proj,
            f"{at}.mlp.c_proj.bias": block.mlp_proj_bias,
        }
    state |= {"transformer.ln_f.weight": network.ln_f.weight, "transformer.ln_f.bias": network.ln_f.bias}
    return _halved(state)


def gpt2_config(shape: Shape, eot: int) -> dict[str, Any]:
    """config.json for transformers."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": shape.n_vocab,
        "n_positions": shape.n_ctx,
        "n_embd": shape.d_model,
        "n_layer": shape.n_layers,
        "n_head": shape.n_heads,
        "n_inner": shape.d_mlp,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": eot,
        "eos_token_id": eot,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
    }


def native_state(network: Network) -> dict[str, Tensor]:
    """State dict of TransformerLens's NativeModel (weights [out, in]), float16."""
    assert network.unembed is not None
    d = network.shape.d_model
    state: dict[str, Tensor] = {
        "tok_embed.weight": network.wte,
        "pos.weight": network.wpe,
        "head.weight": network.unembed,
    }
    for layer, block in enumerate(network.h):
        assert isinstance(block, Block)
        at = f"layers.{layer}"
        state |= {f"{at}.ln1.weight": block.ln_1.weight, f"{at}.ln1.bias": block.ln_1.bias}
        weights, biases = torch.split(block.c_attn, d, dim=1), torch.split(block.c_attn_bias, d)
        for name, weight, bias in zip("qkv", weights, biases, strict=True):
            state |= {f"{at}.attn.{name}.weight": weight.T, f"{at}.attn.{name}.bias": bias}
        state |= {f"{at}.attn.o.weight": block.c_proj.T, f"{at}.attn.o.bias": block.c_proj_bias}
    state |= {"ln_out.weight": network.ln_f.weight, "ln_out.bias": network.ln_f.bias}
    return _halved(state)


def native_config(shape: Shape, eot: int) -> dict[str, Any]:
    """config.json of an attention-only model; `native` is what `TransformerBridge.boot_native` takes."""
    sizes = asdict(shape)
    return {
        "architectures": ["MechtuiAttentionOnly"],
        "model_type": "mechtui-attention-only",
        "bos_token_id": eot,
        "eos_token_id": eot,
        "native": {
            "n_layers": sizes["n_layers"],
            "n_heads": sizes["n_heads"],
            "d_model": sizes["d_model"],
            "d_head": shape.d_head,
            "n_ctx": sizes["n_ctx"],
            "d_vocab": sizes["n_vocab"],
            "attn_only": True,
            "normalization_type": "LN",
            "eps": 1e-5,
            "init_weights": False,
        },
    }


def _halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().to(torch.float16).contiguous().clone() for name, t in state.items()}

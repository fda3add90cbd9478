"""The final norm and the unembedding of each token's embedding, and the loss of the next token."""

from __future__ import annotations

from mechtui.views.bigrams import Bigrams
from mechtui.views.script import Around


def lines(question: Bigrams, around: Around) -> list[str]:
    return [
        *(_mlps(around) if question.mlps else ['stream = cache["hook_embed"][0]']),
        "at = bridge.unembed(bridge.ln_final(stream[None]))[0]",
        "# What a model does to its logits behind the unembedding, a cap or a factor.",
        'behind = getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)',
        "at = (at if behind is None else behind(at)).float()",
        "both, came = (at.log_softmax(-1), logits.log_softmax(-1)), tokens[1:, None]",
        "losses = [-log_probs[:-1].gather(-1, came)[:, 0] for log_probs in both]",
        "means = [loss.mean().item() if len(loss) else None for loss in losses]",
        "last = torch.tensor([torch.nan])",
        f"uniform = float(np.log({around.shape.d_vocab}))",
        "knows = means[1] is not None and means[1] < uniform",
        "",
        "def likeliest(row):",
        f"    pairs = zip(*(x.tolist() for x in row.exp().topk({min(question.top, around.shape.d_vocab)})))",
        '    return [{"id": id, "token": text(id), "prob": prob} for prob, id in pairs]',
        "",
        "return {",
        '    "bigrams": torch.cat([losses[0], last]),',
        '    "model": torch.cat([losses[1], last]),',
        '    "uniform": uniform,',
        '    "mean_bigrams": means[0],',
        '    "mean_model": means[1],',
        '    "explained": (uniform - means[0]) / (uniform - means[1]) if knows else None,',
        '    "best": [*map(likeliest, both[0])],',
        '    "model_best": [*map(likeliest, both[1])],',
        "}",
    ]


def _mlps(around: Around) -> list[str]:
    """Lines after which `stream` leaves the last layer where attention writes nothing and no position is added."""
    n_layers = around.shape.n_layers
    pos = '"hook_pos_embed", ' if around.shape.has_pos else ""
    return [
        "kept = {}",
        f'silent = [{pos}*(f"blocks.{{layer}}.hook_attn_out" for layer in range({n_layers}))]',
        "nothing = [(name, lambda x, hook: torch.zeros_like(x)) for name in silent]",
        "keep = lambda x, hook: kept.update(stream=x[0])",
        f'nothing.append(("blocks.{n_layers - 1}.hook_resid_post", keep))',
        "bridge.run_with_hooks(tokens[None], fwd_hooks=[*fwd_hooks, *nothing])",
        'stream = kept["stream"]',
    ]

"""Attention on random tokens said twice, from a run of its own. What heads copy is left out."""

from __future__ import annotations

from mechtui.views.scores import Scores
from mechtui.views.script import Around

# The scores are the model's: no edit changes them.
EACH_RUN = False


def lines(question: Scores, around: Around) -> list[str]:
    return [
        *measured(around),
        "return {",
        '    "induction": induction,',
        '    "previous": previous,',
        '    "duplicate": duplicate,',
        '    "first": first,',
        '    "lengths": lengths,',
        '    "count": 6,',
        "}",
    ]


def measured(around: Around) -> list[str]:
    """Lines after which `induction`, `previous`, `duplicate` and `first` are [layer, head]."""
    longest = (around.shape.n_ctx - 1) // 2
    return [
        "special = set(tokenizer.all_special_ids)",
        f"ids = [id for id in range(min({around.shape.d_vocab}, len(tokenizer))) if id not in special]",
        "bos = [tokenizer.bos_token_id]",
        'begins = "GPT2" in type(plain).__name__ or tokenizer.encode("a")[:1] == bos',
        "begin = torch.tensor(bos if begins and bos[0] is not None else [], dtype=torch.long).expand(6, -1)",
        f"lengths = [n for n in (32, 64, 96) if n <= {longest}] or [{longest}]",
        "scores = []",
        "for n in lengths:",
        "    drawn = torch.randint(len(ids), (6, n), generator=torch.Generator().manual_seed(0))",
        "    half = torch.tensor(ids)[drawn]",
        "    _, on_repeat = bridge.run_with_cache(torch.cat([begin, half, half], 1))",
        f"    layers = range({around.shape.n_layers})",
        '    pattern = torch.stack([on_repeat[f"blocks.{layer}.attn.hook_pattern"].mean(0) for layer in layers])',
        "    size = pattern.shape[-1]",
        "    t, later = torch.arange(size - n, size), torch.arange(2, size)",
        "    again = t[t - n >= 1]  # attention to position 0 is no sign of anything",
        "    places = [(t, t - n + 1), (later, later - 1), (again, again - n), (t, t * 0)]",
        "    scores.append(torch.stack([pattern[..., query, key].mean(-1) for query, key in places]))",
        "induction, previous, duplicate, first = torch.stack(scores).mean(0)",
    ]

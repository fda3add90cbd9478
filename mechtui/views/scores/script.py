"""Attention on random tokens said twice, from a run of its own, and whether each head's OV circuit copies."""

from __future__ import annotations

from mechtui.views.scores import EARNED, LABELS, Scores
from mechtui.views.script import THROUGH, Around, ScriptError

COUNT, LENGTHS, SHORTEST = 6, (32, 64, 96), 4
# A text to look at.
OMITS = ("repeat",)
# The scores are the model's: no edit changes them.
EACH_RUN = False


def lines(question: Scores, around: Around) -> list[str]:
    return [
        *measured(around),
        *copied(around),
        "",
        "def label(scores):",
        f'    """What takes more than {EARNED:.0%} of a head\'s attention."""',
        "    name, share = max(scores.items(), key=lambda score: score[1])",
        f'    return name if share > {EARNED} else ""',
        "",
        f"named = {{{', '.join(f'{name!r}: {name}' for name in LABELS)}}}",
        "places = [[(layer, head) for head in range(induction.shape[1])] for layer in range(len(induction))]",
        "return {",
        '    "induction": induction,',
        '    "previous": previous,',
        '    "duplicate": duplicate,',
        '    "copying": copying,',
        '    "first": first,',
        '    "label": [[label({n: s[at].item() for n, s in named.items()}) for at in row] for row in places],',
        '    "lengths": lengths,',
        f'    "count": {COUNT},',
        '    "bos": begin.shape[1] > 0,',
        "}",
    ]


def measured(around: Around) -> list[str]:
    """Lines after which `induction`, `previous`, `duplicate` and `first` are [layer, head]. Raises ScriptError."""
    longest = (around.shape.n_ctx - 1) // 2
    if longest < SHORTEST:
        raise ScriptError(f"the model reads {around.shape.n_ctx} tokens: too few to say random ones twice")
    lengths = [n for n in LENGTHS if n <= longest] or [longest]
    bos = "tokenizer.bos_token_id" if around.begins else ""
    return [
        "special = set(tokenizer.all_special_ids)",
        f"ids = torch.tensor([id for id in range(min({around.shape.d_vocab}, len(tokenizer))) if id not in special])",
        f"begin = torch.tensor([{bos}], dtype=torch.long).expand({COUNT}, -1)",
        f"lengths = {lengths}",
        f'patterns = [f"blocks.{{layer}}.attn.hook_pattern" for layer in range({around.shape.n_layers})]',
        "scores = []",
        "for n in lengths:",
        f"    drawn = torch.randint(len(ids), ({COUNT}, n), generator=torch.Generator().manual_seed(0))",
        "    said_twice = torch.cat([begin, ids[drawn], ids[drawn]], 1)",
        "    _, seen_twice = bridge.run_with_cache(said_twice, names_filter=patterns)",
        "    pattern = torch.stack([seen_twice[name].float().mean(0) for name in patterns])",
        "    size = pattern.shape[-1]",
        "    t, later = torch.arange(size - n, size), torch.arange(2, size)",
        "    again = t[t - n >= 1]  # attention to position 0 is no sign of anything",
        "    places = [(t, t - n + 1), (later, later - 1), (again, again - n), (t, t * 0)]",
        "    scores.append(torch.stack([pattern[..., query, key].mean(-1) for query, key in places]))",
        "induction, previous, duplicate, first = torch.stack(scores).mean(0)",
    ]


def copied(around: Around) -> list[str]:
    """Lines after which `copying` is [layer, head]: the eigenvalues of each head's full OV circuit."""
    group = around.shape.n_heads // around.shape.n_kv_heads
    values = "block.attn.W_V.float()"
    if group > 1:
        values += f".repeat_interleave({group}, dim=0)"
    return [
        *THROUGH,
        "W_E, W_U = bridge.W_E.float(), bridge.W_U.float()",
        "W_U = W_U - W_U.mean(1, keepdim=True)  # what raises all tokens alike changes no probability",
        "# The eigenvalues of W_U W_O W_V W_E that are not 0 are those of the small product W_V W_E W_U W_O.",
        "around_vocabulary = through(bridge.ln_final, W_U.T).T @ W_E",
        "copying = []",
        "for block in bridge.blocks:",
        f"    W_V, W_O = {values}, block.attn.W_O.float()",
        '    W_V = through(getattr(block, "ln1", None), W_V.mT)',
        '    W_O = through(getattr(block, "ln1_post", None), W_O)  # of models with a norm behind attention',
        "    eigenvalues = torch.linalg.eigvals((W_O @ around_vocabulary @ W_V.mT).double())",
        "    copying.append(eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1))",
        "copying = torch.stack(copying)",
    ]

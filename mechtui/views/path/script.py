"""Each path of one receiver alone, with TransformerLens's hooks: what it reads, less a write, and all behind anew."""

from __future__ import annotations

from mechtui.session import sites
from mechtui.session.document import Site
from mechtui.session.grammar.places import format_site
from mechtui.views.path import Path
from mechtui.views.script import NO_PATHS, Around, NoHookError, quoted

# How much is left to do is no number of the model's.
OMITS = ("left",)


def lines(question: Path, around: Around) -> list[str]:
    session = around.session
    if session.linear:
        raise NoHookError(NO_PATHS)
    receiver = question.receiver(around.shape)
    same = any(each.on and each.sender is not None and each.site == receiver for each in session.edits)
    if same:
        raise NoHookError("an edit cuts or patches a path into the same receiver, and the program has one at a time")
    patches = bool(session.source) and not question.cut
    at = None if question.at is None else around.position(question.at)
    ends = [p for p in range(len(around.tokens)) if not patches or around.alignment[p] >= 0] if at is None else [at]
    senders = question.senders(around.shape) if question.sender is None else [question.sender]
    wrote = [_sender(site, around) for site in senders]
    names = [format_site(site) for site in senders]
    rows = [f"([{each}], {ends})" for each in wrote]
    if question.sender is not None and receiver is not None:
        names, rows = [f"@{end}" for end in ends], [f"([{wrote[0]}], [{end}])" for end in ends]
    joint = patches or (question.sender is not None and receiver is not None)
    count = len(rows)
    if joint:
        rows.append(f"([{', '.join(wrote)}], {ends})")
    return [
        *around.target(-1),
        "baseline = (logits[-1, answer] - logits[-1, foil]).item()",
        *_change(patches, around),
        *(_logits(around) if receiver is None else _behind(question, around, at)),
        f"# Hook, layer and head of each sender, and where its paths end{'; the last row is all of them' * joint}.",
        "paths = [",
        *(f"    {row}," for row in rows),
        "]",
        "effect, moves = torch.tensor([one(*each) for each in paths]).T",
        "return {",
        f'    "receiver": {quoted("logits" if receiver is None else format_site(receiver))},',
        f'    "how": "{"patch" if patches else "cut"}",',
        f'    "senders": {names},',
        f'    "effect": effect[:{count}],',
        f'    "moves": moves[:{count}],',
        '    "baseline": baseline,',
        '    "query": query,',
        '    "key": key,',
        '    "score": score,',
        f'    "together": {"effect[-1].item()" if joint else None},',
        "}",
    ]


def _sender(site: Site, around: Around) -> str:
    [(hook, layer)] = sites.hooks(site, around.shape)
    return f"({quoted(hook)}, {layer}, {site.index.first if site.kind == 'head' else None})"


def _change(patches: bool, around: Around) -> list[str]:
    """Lines after which `change(senders, position)` [d_model] is by what the stream that is read is another."""
    source = [
        f"partners = {list(around.alignment)}",
        f"_, source = bridge.run_with_cache(encode({quoted(around.session.source)}))",
    ]
    return [
        *(source if patches else []),
        "",
        "def write(cache, hook, layer, head, position):",
        "    gave = cache[hook][0, position].float()",
        "    if head is not None:",
        "        return gave[head] @ bridge.blocks[layer].attn.W_O[head].float()",
        '    factor = getattr(bridge.blocks[layer], "residual_contribution_scale", None) if layer >= 0 else None',
        "    return gave * (factor or 1.0)",
        "",
        "def change(senders, position):",
        "    total = -sum(write(cache, *each, position) for each in senders)",
        *["    total += sum(write(source, *each, partners[position]) for each in senders)"] * patches,
        "    return total",
        "",
    ]


def _logits(around: Around) -> list[str]:
    """Lines after which `one(senders, positions)` gives a row's numbers."""
    leaving = f"blocks.{around.shape.n_layers - 1}.hook_resid_post"
    behind = 'behind = getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)'
    if around.session.linear:
        # What is added is read with the scale that the final norm has of the clean run.
        read = [
            f'scale = (centred(clean["{leaving}"][0, -1].float()).pow(2).mean() + bridge.cfg.eps).sqrt()',
            'weight = getattr(bridge.ln_final, "weight", None)',
            "weight = 1 if weight is None else weight + 1 if bridge.cfg.rmsnorm_uses_offset else weight",
            behind,
            "",
            "def unembedded(x):",
            "    found = bridge.unembed(x[None, None])[0, 0]",
            "    return found if behind is None else behind(found)",
            "",
            "def one(senders, positions):",
            "    read = centred(change(senders, len(tokens) - 1)) * weight / scale",
            "    moved = unembedded(read) - unembedded(torch.zeros_like(read))",
            '    return (moved[answer] - moved[foil]).item(), float("nan")',
            "",
        ]
    else:
        read = [
            f'final = cache["{leaving}"][0, -1].float()',
            behind,
            "",
            "def one(senders, positions):",
            "    stream = (final + change(senders, len(tokens) - 1))[None, None]",
            "    changed = bridge.unembed(bridge.ln_final(stream))[0, 0]",
            "    changed = changed if behind is None else behind(changed)",
            '    return (changed[answer] - changed[foil]).item() - baseline, float("nan")',
            "",
        ]
    return ["query = key = score = None", *read]


def _behind(question: Path, around: Around, at: int | None) -> list[str]:
    """The same of a receiver within the model."""
    shape, part, last = around.shape, question.part, len(around.tokens) - 1
    begin = f"blocks.{question.layer}."
    other = None if question.other is None else around.position(question.other)
    group = question.head * shape.n_kv_heads // shape.n_heads
    query, key = (at, other) if part == "q" else (other, at)
    query, key = (at, None) if part == "mlp" else (query, key)
    query = last if query is None else query
    found = str(key)
    if key is None and part != "mlp":
        found = f'clean["{begin}attn.hook_pattern"][0, {question.head}, {query}].argmax().item()'
    if part == "mlp":
        looked, read = f"{begin}hook_mlp_out", "[0, query]"
    elif part == "v":
        looked, read = f"{begin}attn.hook_v", f"[0, key, {group}]"
    else:
        looked, read = f"{begin}attn.hook_attn_scores", f"[0, {question.head}, query, key]"
    own = [f'own = cache["{looked}"]{read}.float()', f"look = lambda x: x{read}.float()"]
    at_hook = f'at_hook = ["{looked}"]'
    if part in ("q", "k") and around.native:
        # Its scores pass no hook; they are these products.
        own = [
            f'products = ["{begin}attn.hook_q", "{begin}attn.hook_k"]',
            f"look = lambda q, k: q[0, query, {question.head}] @ k[0, key, {group}] / {shape.d_head} ** 0.5",
            "own = look(*[cache[name] for name in products])",
        ]
        at_hook = "at_hook = products"
    ending = [
        "def one(senders, positions):",
        "    added = torch.zeros_like(stream)",
        "    for position in positions:",
        "        added[position] = change(senders, position)",
        "    seen = []",
        "    looks = [(name, lambda x, hook: seen.append(x)) for name in at_hook]",
        "    hooks = paths_end(added) + looks",
        "    changed = bridge.run_with_hooks(tokens, fwd_hooks=hooks)[0, -1]",
        "    now = look(*seen)",
    ]
    moved = "(now - own).item()" if part in ("q", "k") else "(now @ own / (own @ own)).item() - 1"
    ending += [f"    return (changed[answer] - changed[foil]).item() - baseline, {moved}", ""]
    return [
        f"query, key = {query}, {found}",
        *own,
        at_hook,
        "score = own.item()" if part in ("q", "k") else "score = None",
        *(_of_mlp(begin) if part == "mlp" else _of_head(question, begin, question.head if part == "q" else group)),
        *ending,
    ]


def _of_mlp(begin: str) -> list[str]:
    """Lines after which `paths_end(added)` are the hooks of a run whose receiver reads the stream and what is added."""
    return [
        f'stream = cache["{begin}hook_resid_mid"][0].float()',
        "",
        "def paths_end(added):",
        "    # The bridge's hook_resid_mid is on the way into the norm: nothing goes around it.",
        f'    return [*fwd_hooks, ("{begin}hook_resid_mid", lambda x, hook: x + added)]',
        "",
    ]


def _of_head(question: Path, begin: str, index: int) -> list[str]:
    part = question.part
    return [
        f'stream = cache["{begin}hook_resid_pre"][0].float()',
        f"norm, weight = bridge.blocks[{question.layer}].ln1.original_component, "
        f"bridge.blocks[{question.layer}].attn.W_{part.upper()}[{index}]",
        "",
        "def paths_end(added):",
        "    def project(x, hook):",
        "        x = x.clone()",
        f"        x[0, :, {index}] += (norm(stream + added) - norm(stream)) @ weight",
        "        return x",
        "",
        "    # Before edits of what is made of it.",
        f'    return [("{begin}attn.hook_{part}", project), *fwd_hooks]',
        "",
    ]

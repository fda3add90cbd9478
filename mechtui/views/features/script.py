"""The features that are on at a token: what a dictionary makes of the cache, and runs with that put in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtui.session.dictionaries import About
from mechtui.views.attribution.script import reads_of
from mechtui.views.features import WORDS, Features
from mechtui.views.script import FACTOR, MLP_IN, THROUGH, Around, ScriptError, quoted

# What is said of the dictionary and by people is no number of the model's.
OMITS = ("dictionary", "labels", "why")


def lines(question: Features, around: Around) -> list[str]:
    raise ScriptError("how the dictionary is read, its answer says, and that is not known")


def lines_of(question: Features, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    answer = answers[0] or answers[1]
    if answer is None:
        return lines(question, around)
    about = around.about(answer["dictionary"]["name"])
    position = around.position(question.position)
    attributes = answer["attribution"] is not None
    reads = reads_of(position, around, False) if attributes else ["answer = foil = None"]
    return [
        *reads,
        *_makes(about, around.dictionary(about.name)),
        "",
        *(_reads(about, position) if attributes else []),
        *_picks(question, position, attributes),
        "",
        *_words(about, around),
        "",
        *_cosines(answer, around),
        *_losses(answer, about),
        "return {",
        f'    "position": {position},',
        '    "answer": None if answer is None else text(answer),',
        '    "foil": None if foil is None else text(foil),',
        f'    "auto": {not (around.session.answer or around.session.foil)},',
        '    "feature": picks,',
        f'    "value": acts[{position}, picks],',
        f'    "attribution": {"added(cache)[picks]" if attributes else None},',
        '    "share": sizes(cache)[picks],',
        '    "values": acts[:, picks].T,',
        '    "raises": [largest(row) for row in said],',
        '    "lowers": [largest(row, -1) for row in said],',
        f'    "vectors": {answer["vectors"]!r},',
        '    "cosines": [list(row) for row in zip(*cosines)] or [[]] * len(picks),',
        *_parts(about, position, attributes),
        '    "on": (acts != 0).sum(-1).float(),',
        '    "norm": y.norm(dim=-1),',
        '    "error_norm": error.norm(dim=-1),',
        '    "counted": len(y) - first,',
        '    "l0": (acts[first:] != 0).sum(-1).float().mean().item(),',
        '    "explained_variance": explained,',
        '    "loss": own,',
        '    "loss_reconstructed": rebuilt,',
        '    "loss_zeroed": zeroed,',
        '    "loss_recovered": recovered,',
        "}",
    ]


def _makes(about: About, of: str) -> list[str]:
    """Lines after which `made(cache)` is what passes where the dictionary writes, what is on, what each write is
    multiplied by, what it writes whatever is on, what it skips, and the error; these of the run at hand. of: what the
    program calls it."""
    return [
        f"D, b_dec = {of}.D, {of}.b_dec",
        "",
        "def made(cache):",
        f"    x, y = ({of}.rows(cache[hook])[0] for hook in ({quoted(about.reads)}, {quoted(about.writes)}))",
        f"    acts, skip, (shift, scale) = {of}.encode(x), {of}.skip(x), {of}.restored(x)",
        "    bias = b_dec * scale + shift",
        "    return y, acts, scale, bias, skip, y - (acts @ D * scale + bias + skip)",
        "",
        "y, acts, scale, bias, skip, error = made(cache)",
    ]


def _reads(about: About, position: int) -> list[str]:
    """Lines after which `reads_here(cache)` reads of what passes where the dictionary writes its direct effect."""
    hook = about.writes
    layer = hook.split(".")[1]
    body = ["    return read(cache)"]
    if hook.endswith("attn.hook_z"):
        body = [
            f"    block, z = bridge.blocks[{layer}], cache[{quoted(hook)}][0, {position}].float()",
            '    given = torch.einsum("hd,hdm->m", z, block.attn.W_O.float())',
            "    given = given + (0 if block.attn.b_O is None else block.attn.b_O.float())",
            '    return (block.attn.W_O.float() @ before(block, "ln1_post", given, read(cache))).flatten()',
        ]
    elif hook.endswith("mlp.hook_post"):
        body = [
            f"    block, post = bridge.blocks[{layer}], cache[{quoted(hook)}][0, {position}].float()",
            *_written_by(),
            "    given = post @ W_out + (0 if block.mlp.b_out is None else block.mlp.b_out.float())",
            '    return W_out @ before(block, "ln2_post", given, read(cache))',
        ]
    return [
        "def reads_here(cache):",
        *body,
        "",
        "def added(cache):",
        "    _, acts, scale, *_ = made(cache)",
        f"    return acts[{position}] * scale[{position}] * (D @ reads_here(cache))",
        "",
    ]


def _written_by() -> list[str]:
    return [
        "    own = block.mlp.W_out.float()",
        "    W_out = own if own.shape[1] == bridge.cfg.d_model else own.T",
    ]


def _picks(question: Features, position: int, attributes: bool) -> list[str]:
    """Lines after which `picks` are the features that are listed, and `sizes(cache)` their shares."""
    share = [
        "def sizes(cache):",
        "    y, acts, scale, *_ = made(cache)",
        f"    return acts[{position}] * scale[{position}] * D.norm(dim=-1) / y[{position}].norm()",
        "",
        f"on = torch.stack([made(run)[1][{position}] != 0 for _, run, _ in runs]).any(0)",
    ]
    if question.by == "number":
        return [*share, f"picks = on.nonzero()[:{question.top}, 0].tolist()"]
    by = {"attribution": "added(run)", "share": "sizes(run)"}.get(question.by, "")
    by = by if by and (attributes or question.by == "share") else f"made(run)[1][{position}]"
    return [
        *share,
        f"by_run = [{by} for _, run, _ in runs]",
        "# Those that are strongest in any run, or differ most between the runs.",
        "strength = torch.stack([*by_run, by_run[-1] - by_run[0]]).abs().amax(0)",
        "strength[~on] = -1",
        f"picks = strength.topk(min({question.top}, int(on.sum()))).indices.tolist()",
    ]


def _words(about: About, around: Around) -> list[str]:
    """Lines after which `written` [pick, d_model] are the directions in the stream, `said` the logits that they change,
    and `largest` names tokens."""
    hook = about.writes
    layer = hook.split(".")[1]
    block = [f"block = bridge.blocks[{layer}]"]
    if hook.endswith("attn.hook_z"):
        stream = [*block, "written = D[picks] @ block.attn.W_O.float().flatten(0, 1)"]
        stream.append('written = through(getattr(block, "ln1_post", None), written)')
    elif hook.endswith("mlp.hook_post"):
        stream = [*block, *(each.strip() for each in _written_by()), "written = D[picks] @ W_out"]
        stream.append('written = through(getattr(block, "ln2_post", None), written)')
    else:
        stream = ["written = D[picks]"]
    said = [
        "reader = through(bridge.ln_final, bridge.W_U.T).T * times",
        "said = written @ reader",
        "said = said - said.mean(-1, keepdim=True)",
    ]
    if hook.endswith(MLP_IN):
        stream, said = [], ["said = [[]] * len(picks)"]
    else:
        stream = [*THROUGH, *FACTOR, *stream]
    return [
        *stream,
        *said,
        "",
        "def largest(scores, sign=1):",
        *(["    if not len(scores):", "        return []"] if hook.endswith(MLP_IN) else []),
        f"    ids = (sign * scores).topk({min(WORDS, around.shape.d_vocab)}).indices.tolist()",
        '    return [{"token": text(id), "id": id, "value": scores[id].item()} for id in ids]',
    ]


def _cosines(answer: Mapping[str, Any], around: Around) -> list[str]:
    """Lines after which `cosines` [vector][pick] are those to the session's vectors."""
    lines = ["cosines = []"]
    for at, name in enumerate(answer["vectors"]):
        known = any(row[at] is not None for row in answer["cosines"])
        vector = around.vector(name) if known else ""
        cosine = f"(written @ {vector} / (written.norm(dim=-1) * {vector}.norm())).tolist()"
        lines.append(f"cosines.append({cosine if known else '[None] * len(picks)'})")
    return lines


def _losses(answer: Mapping[str, Any], about: About) -> list[str]:
    first = len(answer["on"]) - answer["counted"]
    lines = [
        f"first = {first}  # BOS does not count",
        "spread = (y[first:].double() - y[first:].double().mean(0)).pow(2).sum()",
        "explained = (1 - error[first:].double().pow(2).sum() / spread).item() if spread > 0 else None",
    ]
    if answer["loss"] is None:
        return [*lines, "own = rebuilt = zeroed = recovered = None"]
    hook = about.writes
    layer = hook.split(".")[1]
    hooks = f"[*fwd_hooks, ({quoted(hook)}, edit)]"
    if hook.endswith("hook_resid_mid"):
        hooks = "[beyond, *fwd_hooks, change]"
    return [
        *lines,
        f"whole = cache[{quoted(hook)}][0].float()",
        "",
        "def loss(logits):",
        "    return (logits[:-1].logsumexp(-1) - logits[:-1].gather(-1, tokens[1:, None])[:, 0]).mean().item()",
        "",
        "def with_in_place(value):",
        "    def edit(x, hook):",
        "        x = x.clone()",
        "        x[0, first:] = value[first:].reshape(x[0, first:].shape)",
        "        return x",
        "",
        *([f"    change, beyond = at_mid({layer}, edit)"] if hook.endswith("hook_resid_mid") else []),
        f"    return loss(bridge.run_with_hooks(tokens[None], fwd_hooks={hooks})[0].float())",
        "",
        "own, zeroed = loss(logits), with_in_place(torch.zeros_like(whole))",
        "rebuilt = with_in_place(whole.flatten(1) - error)",
        "recovered = (zeroed - rebuilt) / (zeroed - own)",
    ]


def _parts(about: About, position: int, attributes: bool) -> list[str]:
    if not attributes:
        return [f'    "{name}": None,' for name in ("rest", "bias", "skip", "error", "total")]
    here = "reads_here(cache)"
    return [
        '    "rest": (added(cache).sum() - added(cache)[picks].sum()).item(),',
        f'    "bias": (bias[{position}] @ {here}).item(),',
        f'    "skip": (skip[{position}] @ {here}).item(),',
        f'    "error": (error[{position}] @ {here}).item(),',
        f'    "total": (y[{position}] @ {here}).item(),',
    ]

"""A session as a Python program for TransformerLens that makes the same edits, each under its own line.

The program needs torch and transformer-lens, not mechtui. Positions are written as numbers, so that it says
exactly what was done.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from mechtui.session import sites
from mechtui.session.document import Edit, ModelShape, Session, Token, Vector
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.hook_edits import EditError, HookEdit, Steering
from mechtui.session.ops import ops
from mechtui.session.prompt import Prompt, Surroundings
from mechtui.session.resolve import resolve

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
around = []
'''

# A model may clip what its projections give; the bridge's hooks lie before that.
CLIPPED = """\

if getattr(plain.config, "clip_qkv", None):
    raise SystemExit(f"{MODEL} clips q, k and v, which TransformerLens shows unclipped: no program edits them")
"""

MID_HOOK = sites.LAYER["mid"].hook

# What an edit of resid_mid changes has to reach the residual stream too, and before any edit of resid_post.
MID = '''\

def at_mid(layer, edit):
    """The bridge's hook_resid_mid lies on the way into the second norm; the residual stream goes around it."""
    added = []

    def change(x, hook):
        changed = edit(x, hook)
        added[:] = [changed - x]
        return changed

    around.append((f"blocks.{layer}.hook_resid_post", lambda x, hook: x + added.pop() if added else x))
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
hooks = [HOOKS]
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
    each_run: whether it is asked of the edited run too. problem: why it does not answer it, else empty."""

    body: Sequence[str]
    each_run: bool = True
    problem: str = ""


class ScriptError(ValueError):
    """An edit that means nothing for this model and prompt, so that no program can make it: one sentence."""


@dataclass(frozen=True)
class Loaded:
    """The model that the program loads. name: what transformers loads it by."""

    name: str
    shape: ModelShape


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
    parts = [
        HEAD.format(model=repr(place), bos="tokenizer.bos_token_id, *" if bos else "*", prompt=repr(session.prompt))
    ]
    prompt = Prompt(tuple(token.id for token in tokens), tuple(token.text for token in tokens), len(tokens))
    around = Surroundings(
        Loaded(place, shape),
        tuple(Steering(vector, bos) for vector in session.vectors),
        tuple(token.id for token in source),
        tuple(alignment),
        # As tokens nobody needs them here; that there are some decides what a mean is.
        tuple(() for _ in session.references),
    )
    bodies = "\n".join(line for view in views.values() for line in view.body)
    # By their places in the session; those that are off, where a view asks for them.
    edits = {
        number: edit
        for number, edit in enumerate(session.edits, 1)
        if edit.on or re.search(rf"\bhooks_{number}\b", bodies)
    }
    resolved = {number: _resolved(edit, prompt, around) for number, edit in edits.items()}
    hook_edits = [each for one in resolved.values() for each in one]
    if any(ops()[each.op].takes == "source" for each in hook_edits):
        parts.append(f"_, source = bridge.run_with_cache(encode({session.source!r}))\n")
    if any(each.references for each in hook_edits):
        parts.append(
            f"references = [bridge.run_with_cache(encode(text))[1] for text in {list(session.references)!r}]\n"
        )
    names = {vector: f"vector_{number}" for number, vector in enumerate(session.vectors)}
    used = {vector for vector, name in names.items() if re.search(rf"\b{name}\b", bodies)}
    used |= {each.vector.vector for each in hook_edits if each.vector is not None}
    for vector in session.vectors:
        if folded and vector in used and vector.source == "token":
            raise ScriptError(
                f"{format_vector(vector)} is read from folded weights and the program loads raw ones, where it is "
                "another vector: load the model without folding"
            )
    parts += [_vector(name, vector) for vector, name in names.items() if vector in used]
    if any(each.hook.endswith(MID_HOOK) for each in hook_edits):
        parts.append(MID)
    if any(each.hook.endswith(("hook_q", "hook_k", "hook_v")) for each in hook_edits):
        parts.append(CLIPPED)
    if any(each.is_pattern for each in hook_edits):
        parts.append(TABLE)
    for number, edit in edits.items():
        one = resolved[number]
        parts.append(f"\n# {format_edit(edit)}\n{_function(number, one, names) if one else f'hooks_{number} = []'}\n")
    acting = "".join(f", *hooks_{number}" for number, edit in edits.items() if edit.on)
    return "\n".join(parts) + TAIL.replace("HOOKS", f"*around{acting}") + (_views(views, bool(acting)) if views else "")


def _views(views: Mapping[str, ViewLines], edited: bool) -> str:
    """A function for each question line, and what they say of each run."""
    parts = [VIEWS + (EDITED if edited else "")]
    for number, (line, view) in enumerate(views.items(), 1):
        if view.problem:
            parts.append(f"\n# {line}: {view.problem}\n")
            continue
        body = textwrap.indent("\n".join(view.body), "    ")
        parts.append(f"\n\n# {line}\ndef view_{number}(logits, cache, fwd_hooks):\n{body}\n\n\n")
        for run in ("clean", "edited") if edited and view.each_run else ("clean",):
            parts.append(f"answers[{run!r}, {line!r}] = view_{number}(*{run}_run)\n")
    return "".join(parts) + PRINTED


def _resolved(edit: Edit, prompt: Prompt, around: Surroundings) -> tuple[HookEdit, ...]:
    try:
        return resolve(edit, prompt, around)
    except EditError as error:
        raise ScriptError(f"{format_edit(edit)}: {error}") from error


def _function(number: int, hook_edits: Sequence[HookEdit], names: Mapping[Vector, str]) -> str:
    """A function that makes an edit, and where it is hooked. hook_edits: those of one edit, which differ in their
    layer only."""
    one = hook_edits[0]
    loop, pick = _loop(one)
    vector = names[one.vector.vector] if one.vector is not None else ""
    inside = "\n".join([f"part = x{pick}", *ops()[one.op].script(one, pick, vector)])
    if loop:
        inside = f"for {loop}:\n{textwrap.indent(inside, '    ')}"
    first = "x, before = x.clone(), x" if one.is_pattern else "x = x.clone()"
    last = "return torch.where(seen(hook), x, before)" if one.is_pattern else "return x"
    body = textwrap.indent(f"{first}\n{inside}\n{last}", "    ")
    name, layers = f"edit_{number}", [each.layer for each in hook_edits]
    hook = one.hook.replace(f".{one.layer}.", ".{layer}.", 1)
    if one.hook.endswith(MID_HOOK):
        hooked = f"[at_mid(layer, {name}) for layer in {layers}]"
    elif one.layer >= 0:
        hooked = f"[(f{hook!r}, {name}) for layer in {layers}]"
    else:
        hooked = f"[({hook!r}, {name})]"
    return f"def {name}(x, hook):\n{body}\n\n\nhooks_{number} = {hooked}"


def _loop(edit: HookEdit) -> tuple[str, str]:
    """(loop over heads or neurons, the index that picks one as [batch, pos, width]); empty for the whole width."""
    if edit.index is None:
        return "", ""
    if edit.hook.endswith(sites.NEURON.hook):
        return f"neuron in {list(edit.index)}", "[:, :, neuron : neuron + 1]"
    return f"head in {list(edit.index)}", "[:, head]" if edit.is_pattern else "[:, :, head]"


def _vector(name: str, vector: Vector) -> str:
    """The lines that make a steering vector, under its own line."""
    hook = sites.hook(vector.layer, vector.part)

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

"""The part of a program that makes its edits act on the linear model around the clean run."""

from __future__ import annotations

# An edit there goes on in the stream, see LINEAR.
MID = """\
def at_mid(layer, edit):
    return (f"blocks.{layer}.hook_resid_mid", edit), (f"blocks.{layer}.hook_resid_post", lambda x, hook: x)
"""

RUN = '''\
def centred(x):
    return x - x.mean(-1, keepdim=True) if bridge.cfg.normalization_type.startswith("LN") else x


def linear_run(ids, hooks):
    """(logits, activations) with edits. Patterns, the scales of norms and NEURONS are held at their values in the clean
    run of these tokens; an edit adds to an activation what it changes of it there."""
    norms = [getattr(block, name, None) for block in bridge.blocks for name in ("ln1", "ln1_post", "ln2_post")]
    norms = [norm for norm in [*norms, bridge.ln_final] if norm is not None]
    passed = {}

    def note(norm, inputs, output):
        passed[norm] = inputs[0]

    def replay(norm, inputs, output):
        # Added, so that what an edit changes behind the norm stays.
        here, was = centred(inputs[0]), centred(passed[norm])
        weight = getattr(norm, "weight", None)
        normed = here if weight is None else here * (weight + 1 if bridge.cfg.rmsnorm_uses_offset else weight)
        scales = [(x.pow(2).mean(-1, keepdim=True) + bridge.cfg.eps).sqrt() for x in (was, here)]
        return output + normed / scales[0] - normed / scales[1]

    noting = [norm.register_forward_hook(note) for norm in norms]
    logits, held = bridge.run_with_cache(ids)
    for each in noting:
        each.remove()
    if not hooks:
        return logits, held
    shifts = {}
    for name, edit in hooks:
        if name.endswith(("hook_q", "hook_k", "hook_attn_scores", "mlp.hook_in")):
            continue  # the patterns and neurons that would follow from these are held
        change = edit(held[name], types.SimpleNamespace(name=name)) - held[name]
        if name.endswith("hook_pattern"):
            v = held[name.replace("hook_pattern", "hook_v")]
            change = torch.einsum("bhqk,bkhd->bqhd", change, v.repeat_interleave(change.shape[1] // v.shape[2], 2))
            name = name.replace("hook_pattern", "hook_z")
        # The bridge's hook_resid_mid lies on the way into the second norm; the stream goes around it.
        for at in {name, name.replace("hook_resid_mid", "hook_resid_post")}:
            shifts[at] = shifts.get(at, 0) + change
    hold = [name for name in held if name.endswith(("hook_pattern", "HELD"))]
    again = [(name, lambda x, hook, value=held[name]: value) for name in hold]
    again += [(name, lambda x, hook, shift=shift: x + shift) for name, shift in shifts.items()]
    replaying = [norm.register_forward_hook(replay) for norm in norms]
    with bridge.hooks(fwd_hooks=again):
        found = bridge.run_with_cache(ids)
    for each in replaying:
        each.remove()
    return found


def linearly(ids, fwd_hooks=()):
    return linear_run(ids, fwd_hooks)[0]
'''

EDITED = """\
hooks = [HOOKS]
edited_logits, edited = linear_run(tokens, hooks)
"""


# Where an edit of patterns does nothing, none can be held.
DROPS = """\
blank = [("blocks.0.attn.hook_pattern", lambda x, hook: torch.zeros_like(x))]
if torch.equal(bridge.run_with_hooks(tokens, fwd_hooks=blank), clean_logits):
    raise SystemExit(f"TransformerLens drops edits at patterns of {MODEL}, so no program holds them")


"""


def linear_tools(has_neurons: bool) -> str:
    """Lines after which `linear_run` and `linearly` are there."""
    run = RUN.replace("NEURONS", "neurons" if has_neurons else "what MLPs write")
    return DROPS + run.replace("HELD", "mlp.hook_post" if has_neurons else "hook_mlp_out")


def linearly(line: str) -> str:
    """A view's line, whose runs are those of the linear model."""
    return line.replace("bridge.run_with_hooks(", "linearly(")

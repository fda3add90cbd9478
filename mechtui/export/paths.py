"""Edits of paths in an exported program: what one part reads of the stream, with what another writes there replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mechtui.export.section import Section
from mechtui.session.hook_edits import HookEdit, Sender
from mechtui.views.script import quoted

_TOOLS = '''\
gave = {}  # what modules got or gave in the run so far, edits done
ending = {}  # the paths that end in a layer's q, k, v or MLP, once the run has come so far


def keep(name, module, given=False):
    """Keep what a module gets or gives, in every run from here on."""

    def note(module, inputs, output=None):
        value = inputs[0] if output is None else output
        gave[name] = value[0] if isinstance(value, tuple) else value

    module.register_forward_pre_hook(note) if given else module.register_forward_hook(note)


def write(value, kind, layer, head):
    """[pos, d_model]: what a head, or a whole part of the model, adds to the residual stream."""
    if kind == "z":
        W_O = bridge.blocks[layer].attn.W_O[head]
        return value.reshape(*value.shape[:2], -1, len(W_O))[0, :, head] @ W_O
    if kind == "embed":
        factor = getattr(bridge.embed, "_output_contribution_scale", None)
    else:
        factor = None if layer < 0 else getattr(bridge.blocks[layer], "residual_contribution_scale", None)
    return value[0] * (factor or 1.0)


def reads(layer, part, stream):
    """{head: what it reads instead of the stream}, of an MLP {None: ...}. A path that two edits name is one path."""
    found, done = {}, set()
    for path in sorted(ending.pop((layer, part), []), key=lambda path: path["kind"] == "z"):
        kind, at = path["kind"], path["from_layer"]
        for head in path["heads"]:
            read = found.setdefault(head, stream.clone())
            for sender in path["senders"]:
                new = -write(gave[kind, at], kind, at, sender)
                for position, partner in path["places"].items():
                    whole = kind == "z" and (head, "attn", at, None, position) in done
                    if not whole and (head, kind, at, sender, position) not in done:
                        read[0, position] += new[position]
                        if path["hook"] is not None:
                            read[0, position] += write(source[path["hook"]], kind, at, sender)[partner]
                    done.add((head, kind, at, sender, position))
    return found


def ends(layer, part):
    """The hook at which what is read becomes what is made of it."""

    def project(value, hook):
        block, value, stream = bridge.blocks[layer], value.clone(), gave["stream", layer]
        norm, weight = block.ln1.original_component, getattr(block.attn, f"W_{part.upper()}")
        for head, read in reads(layer, part, stream).items():
            value[:, :, head] += (norm(read) - norm(stream)) @ weight[head]
        return value

    def read(x, hook):
        gave.setdefault(("mid", layer), x)  # the stream, which goes around what is read
        return reads(layer, part, x).get(None, x)

    if part == "mlp":
        return f"blocks.{layer}.hook_resid_mid", read
    return f"blocks.{layer}.attn.hook_{part}", project


def path(layer, part, **path):
    """The hooks of one path. What ends in heads needs `ends` before all other hooks."""
    begins = f"blocks.{layer}.ln1.hook_in", lambda x, hook: ending.setdefault((layer, part), []).append(path)
    return [begins, ends(layer, part)] if part == "mlp" else [begins]


'''
_KINDS = {
    "hook_z": "z",
    "hook_attn_out": "attn",
    "hook_mlp_out": "mlp",
    "hook_embed": "embed",
    "hook_pos_embed": "pos",
}


def tools(hook_edits: Sequence[HookEdit]) -> Section:
    """What all paths of a program need."""
    kept = {}
    for each in hook_edits:
        if each.sender is not None:
            kept[_kind(each.sender), each.sender.layer] = _module(each.sender)
            if _part(each) != "mlp":
                kept["stream", each.layer] = f"bridge.blocks[{each.layer}].ln1, given=True"
    lines = "".join(f"keep({name!r}, {module})\n".replace("'", '"') for name, module in sorted(kept.items()))
    return Section(
        "Tools for paths", "What a part of the model reads, with another's write taken away.", _TOOLS + lines
    )


def before(hook_edits: Iterable[HookEdit]) -> list[str]:
    """Hooks that stand before all others, as Python."""
    places = {(each.layer, _part(each)) for each in hook_edits if each.sender is not None}
    return [f"ends({layer}, {quoted(part)})" for layer, part in sorted(places) if part != "mlp"]


def hooks(number: int, hook_edits: Sequence[HookEdit]) -> str:
    """The lines that make an edit's `hooks_<number>`."""
    each = "".join(f"    *path({_arguments(one)}),\n" for one in hook_edits)
    return f"hooks_{number} = [\n{each}]"


def _arguments(edit: HookEdit) -> str:
    sender = edit.sender
    assert sender is not None
    heads = [None] if edit.index is None else list(edit.index)
    senders = [None] if sender.heads is None else list(sender.heads)
    hook = quoted(sender.hook) if edit.source_ids else None
    places = dict(edit.places) if edit.source_ids else f"dict.fromkeys({edit.positions})"
    return (
        f"{edit.layer}, {quoted(_part(edit))}, heads={heads}, kind={quoted(_kind(sender))}, "
        f"from_layer={sender.layer}, senders={senders}, places={places}, hook={hook}"
    )


def _part(edit: HookEdit) -> str:
    return "mlp" if edit.index is None else edit.hook.removesuffix("_input")[-1]


def _kind(sender: Sender) -> str:
    return _KINDS[sender.hook.rpartition(".")[2]]


def _module(sender: Sender) -> str:
    """What passes it is what the sender gives."""
    block = f"bridge.blocks[{sender.layer}]"
    match _kind(sender):
        case "z":
            return f"{block}.attn.o.original_component, given=True"
        case "attn":
            return f'getattr({block}, "ln1_post", None) or {block}.attn'
        case "mlp":
            return f'getattr({block}, "ln2_post", None) or {block}.mlp'
        case "embed":
            return "bridge.embed"
    return "bridge.pos_embed"

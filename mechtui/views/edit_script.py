"""An edit in an exported program: what its hook does."""

from __future__ import annotations

import textwrap

from mechtui.session import sites
from mechtui.session.hook_edits import HookEdit
from mechtui.session.ops import ops
from mechtui.views.script import Around, quoted


def change(edit: HookEdit, around: Around, vector: str = "", *, any_one: bool = False) -> list[str]:
    """The body of a function of (x, hook) that makes an edit in an activation, and gives what goes on in its place.
    vector: what the program calls the edit's steering vector. any_one: of heads or neurons the one that the program
    calls `head` or `neuron`, in place of all that the edit names."""
    if edit.features is not None:
        return _of_features(edit, around)
    pick, loop = "", ""
    if edit.index is not None:
        one = "neuron" if edit.hook.endswith(sites.NEURON.hook) else "head"
        pick = "[:, :, neuron : neuron + 1]" if one == "neuron" else "[:, head]" if edit.is_pattern else "[:, :, head]"
        loop = "" if any_one else f"for {one} in {list(edit.index)}:"
    # A line of an op may be several.
    written = "\n".join(ops()[edit.op].script(edit, lambda cache: f"{cache}[hook.name]{pick}", vector))
    inside = f"part = x{pick}\n{written}"
    if loop:
        inside = f"{loop}\n{textwrap.indent(inside, '    ')}"
    return [
        "x, before = x.clone(), x" if edit.is_pattern else "x = x.clone()",
        *inside.split("\n"),
        "return torch.where(seen(hook), x, before)" if edit.is_pattern else "return x",
    ]


def _of_features(edit: HookEdit, around: Around) -> list[str]:
    """The difference of what is decoded is added, so that what the dictionary does not have stays."""
    features = edit.features
    assert features is not None
    of = around.dictionary(features.of.sae.name)
    some = f"{features.first}:{features.last + 1}"

    written = "\n".join(ops()[edit.op].script(edit, lambda cache: f"acts({cache})", "")).split("\n")
    elsewhere = [
        "def acts(cache):",
        f"    return {of}.encode({of}.rows(cache[{quoted(edit.reads)}]))[..., {some}]",
        "",
    ]
    return [
        *(elsewhere if any("acts(" in line for line in written) else []),
        f"read = {of}.rows({f'noted[{quoted(edit.reads)}]' if features.of.transcodes else 'x'})",
        f"before = {of}.encode(read)[..., {some}]",
        "part = before.clone()",
        *written,
        f"added = (part - before) @ {of}.D[{some}] * {of}.restored(read)[1]",
        "return x + added.reshape(x.shape)",
    ]

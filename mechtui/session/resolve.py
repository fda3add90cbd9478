"""Edits -> hook edits: what a session's lines mean for this model and these tokens."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.session import sites
from mechtui.session.document import ALL, Edge, Edit, Site, Span
from mechtui.session.grammar.places import format_site
from mechtui.session.hook_edits import Decoder, EditError, Features, HookEdit
from mechtui.session.ops import ops
from mechtui.session.prompt import NamedModel, Prompt, Surroundings


def resolve(edit: Edit, prompt: Prompt, around: Surroundings) -> tuple[HookEdit, ...]:
    """The hook edits of one edit, in rising layers; none where it has no position. Raises EditError."""
    op, shape = ops()[edit.op], around.model.shape
    check_sites(edit, around.model)
    features = _features(edit.site, around.decoder(edit.site.sae)) if edit.site.kind == "feature" else None
    decided = op.resolve(edit, prompt, around)
    if not decided["places"]:
        return ()
    if features is not None:
        return (HookEdit(edit.op, features.of.writes, features.of.layer, None, **decided, features=features),)
    index = sites.members(edit.site, shape)
    where = op.hooks(edit, around.model)
    return tuple(HookEdit(edit.op, hook, layer, index, **decided, **own) for hook, layer, own in where)


def _features(site: Site, of: Decoder) -> Features:
    """Raises EditError where it has not as many."""
    first, last = site.index.first, of.count - 1 if site.index.last is None else site.index.last
    if last >= of.count:
        raise EditError(f"there is no {site.sae}F{last}: the features of {site.sae} are 0 to {of.count - 1:,}")
    return Features(of, first, last)


def check_sites(edit: Edit, model: NamedModel) -> None:
    """Raises EditError, which names the model and what it lacks, where it has not all that the edit names."""
    for site in (edit.site, edit.sender):
        if site is not None:
            check_site(site, model)


def check_elsewhere(edit: Edit) -> None:
    """Raises EditError where an edit means nothing on another text than the prompt: it names positions, or takes the
    source's values at their partners."""
    edge = edit.edge or Edge()
    if any(named != ALL for named in (edit.positions, edge.queries, edge.keys)):
        raise EditError("it names positions of the prompt, and this is another text")
    if ops()[edit.op].by_alignment:
        raise EditError("it takes the source's values at the prompt's partners, and another text has none")


def check_site(site: Site, model: NamedModel) -> None:
    """Raises EditError, which names the model and what it lacks, where it has no such site."""
    shape = model.shape

    def lacks(why: str) -> EditError:
        return EditError(f"{model.name} has no {format_site(site)}: {why}")

    def check_count(span: Span, count: int, what: str) -> None:
        if (span.first if span.last is None else span.last) >= count:
            raise lacks(f"its {what} are 0 to {count - 1}")

    if site.kind == "pos" and not shape.has_pos:
        raise lacks("it adds no position embedding to the residual stream")
    if site.kind in ("embed", "pos", "feature"):
        return
    check_count(site.layers, shape.n_layers, "layers")
    if site.kind == "head":
        groups = site.part in ("k", "v") and shape.n_kv_heads != shape.n_heads
        check_count(site.index, sites.head_count(site, shape), "key-value groups" if groups else "heads")
    if (site.kind == "neuron" or site.part in ("mlp", "mid")) and not shape.d_mlp:
        raise lacks("its blocks have no MLP")
    if site.kind == "neuron":
        if not shape.has_neurons:
            mlp = format_site(Site("layer", site.layers, part="mlp"))
            raise lacks(f"its MLPs are mixtures of experts, each with neurons of its own; take {mlp}")
        check_count(site.index, shape.d_mlp, "neurons")
    if site.part == "mid" and not shape.has_mid:
        pre, post = (format_site(replace(site, part=part)) for part in ("pre", "post"))
        raise lacks(f"its attention and MLP read the same residual; take {pre} or {post}")

"""Edits -> actions: what a session's lines mean for this model and these tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec.structs import replace

from mechtui.engine.actions import Action, Actions, Ids, Parameter, Steering
from mechtui.link.messages import Ready
from mechtui.session.document import Edit, Positions, Range, Session, Site, Span, TokenPlaces, Vector
from mechtui.session.lines import format_positions, format_site

LAYER_HOOKS = {
    "attn": "hook_attn_out",
    "mlp": "hook_mlp_out",
    "pre": "hook_resid_pre",
    "mid": "hook_resid_mid",
    "post": "hook_resid_post",
}
HEAD_HOOKS = {
    "z": "attn.hook_z",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "pattern": "attn.hook_pattern",
    "scores": "attn.hook_attn_scores",
}


class EditError(ValueError):
    """An edit that means nothing for this model or this prompt: one sentence that says why."""


class Prompt:
    """What positions are resolved against. `end` is where the typed prompt ends: tokens that a generation
    appended lie after it and belong to `@all` only."""

    def __init__(self, ids: Ids, texts: tuple[str, ...], end: int, everywhere: bool = True) -> None:
        self.ids = ids
        self.texts = texts
        self.end = end
        self.everywhere = everywhere

    @property
    def count(self) -> int:
        return len(self.ids) if self.everywhere else self.end

    def positions(self, positions: Positions) -> list[int]:
        """Raises EditError when one does not exist."""
        if not positions.items:
            return list(range(self.count))
        found: set[int] = set()
        for item in positions.items:
            found |= set(self._token(item) if isinstance(item, TokenPlaces) else self._range(item))
        return sorted(found)

    def _range(self, item: Range) -> range:
        first, last = (p + self.end if p < 0 else p for p in (item.first, item.last))
        for written, p in ((item.first, first), (item.last, last)):
            if not 0 <= p < self.end:
                raise EditError(
                    f"there is no position {written}: the prompt has {self.end} tokens, 0 to {self.end - 1}"
                )
        if last < first:
            raise EditError(f"{item.first}-{item.last} runs backwards in this prompt: {first} to {last}")
        return range(first, last + 1)

    def _token(self, item: TokenPlaces) -> list[int]:
        places = [i for i, text in enumerate(self.texts[: self.end]) if text == item.text]
        if not places:
            near = next((t for t in self.texts[: self.end] if t.strip() and t.strip() == item.text.strip()), None)
            hint = f'; did you mean "{near}"?' if near else ""
            raise EditError(f'no token of the prompt is "{item.text}"{hint}')
        if item.nth is None:
            return places
        if item.nth > len(places):
            raise EditError(f'"{item.text}" stands {len(places)} times in the prompt, so there is no #{item.nth}')
        return [places[item.nth - 1]]


class Surroundings:
    """What an edit may refer to besides the prompt. model: what is known of it. bos: whether texts begin with BOS."""

    def __init__(
        self,
        session: Session,
        model: Ready,
        bos: bool,
        source: Ids,
        alignment: tuple[int, ...],
        references: tuple[Ids, ...],
    ) -> None:
        self.session = session
        self.model = model
        self.bos = bos
        self.source = source
        self.alignment = alignment
        self.references = references


def resolve(edit: Edit, prompt: Prompt, around: Surroundings) -> Actions:
    """The actions of one edit, in rising layers. Raises EditError."""
    where = hooks(edit, around.model)
    if edit.op == "cut":
        places = _cut_places(edit, prompt)
    else:
        places = [(position, None) for position in prompt.positions(edit.positions)]
    fields: dict[str, object] = {}
    match edit.op:
        case "scale":
            fields = {"factor": edit.factor}
        case "noise":
            fields = {"sd": edit.sd, "seed": edit.seed}
        case "mean":
            fields = {"references": around.references}
        case "add" | "project":
            vector = around.session.vector(edit.vector)
            if vector is None:
                names = ", ".join(v.name for v in around.session.vectors) or "none yet"
                raise EditError(f"there is no steering vector {edit.vector}; the session has: {names}")
            factor = edit.factor if edit.op == "add" else 1.0
            fields = {"vector": steering(vector, around.bos), "factor": factor}
        case "patch":
            places = _partners(edit, places, prompt, around)
            two_axes = edit.site.part in ("pattern", "scores")
            fields = {"source_ids": around.source, "keys": around.alignment if two_axes else ()}
        case "resample":
            if not around.source:
                raise EditError(f"{edit.op} takes its values from a source prompt, and the session has none")
            drawn = np.random.default_rng(edit.seed).integers(0, len(around.source), size=len(prompt.ids))
            places = [(position, int(drawn[position])) for position, _ in places]
            fields = {"source_ids": around.source}
        case "freeze":
            # Generated positions have no clean counterpart.
            places = [(p, p) for p, _ in places if p < prompt.end]
            two_axes = edit.site.part in ("pattern", "scores")
            fields = {
                "source_ids": prompt.ids[: prompt.end],
                "keys": tuple(range(prompt.end)) if two_axes else (),
            }
        case "cut":
            fields = {"raw": edit.edge is not None and edit.edge.raw}
        case _:
            pass
    if not places:
        return ()
    return tuple(Action(edit.op, hook, layer, index, tuple(places), **fields) for hook, layer, index in where)  # type: ignore[arg-type]


def steering(vector: Vector, bos: bool) -> Steering:
    """The vector as it stands now. bos: whether the session's texts begin with BOS."""
    return Steering(
        vector,
        bos and vector.source in ("diff", "pca"),
        file_state(vector.path) if vector.source == "file" else (),
    )


def file_state(path: str) -> tuple[int, ...]:
    """What is different after a file was written again: its time of change in nanoseconds, its size, its place on the
    disk. Empty where there is none."""
    try:
        state = Path(path).expanduser().stat()
    except (OSError, RuntimeError, ValueError):  # whoever reads it says why it cannot be read
        return ()
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def hooks(edit: Edit, model: Ready) -> list[tuple[str, int, tuple[int, ...] | None]]:
    """(hook point, layer, heads or neurons; None: the whole width) of each place that the edit names, in rising
    layers. Raises EditError."""
    site, shape = edit.site, model.shape
    check_site(site, model)
    if site.kind in ("embed", "pos"):
        return [("hook_embed" if site.kind == "embed" else "hook_pos_embed", -1, None)]
    layers = site.layers.within(shape.n_layers)
    match site.kind:
        case "head":
            index = tuple(site.index.within(head_count(site, model)))
            part = "pattern" if edit.op == "cut" else site.part or "z"
            return [(f"blocks.{layer}.{HEAD_HOOKS[part]}", layer, index) for layer in layers]
        case "neuron":
            index = tuple(site.index.within(shape.d_mlp))
            return [(f"blocks.{layer}.mlp.hook_post", layer, index) for layer in layers]
        case _:
            return [(f"blocks.{layer}.{LAYER_HOOKS[site.part or 'pre']}", layer, None) for layer in layers]


def head_count(site: Site, model: Ready) -> int:
    """How many heads there are to name at a site: k and v have one for each key-value group."""
    return model.shape.n_kv_heads if site.part in ("k", "v") else model.shape.n_heads


def check_site(site: Site, model: Ready) -> None:
    """Raises EditError, which names the model and what it lacks, where it has no such site."""
    shape = model.shape

    def lacks(why: str) -> EditError:
        return EditError(f"{model.name} has no {format_site(site)}: {why}")

    def check_count(span: Span, count: int, what: str) -> None:
        if (span.first if span.last is None else span.last) >= count:
            raise lacks(f"its {what} are 0 to {count - 1}")

    if site.kind == "pos" and not shape.has_pos:
        raise lacks("it adds no position embedding to the residual stream")
    if site.kind in ("embed", "pos"):
        return
    check_count(site.layers, shape.n_layers, "layers")
    if site.kind == "head":
        groups = site.part in ("k", "v") and shape.n_kv_heads != shape.n_heads
        check_count(site.index, head_count(site, model), "key-value groups" if groups else "heads")
    if (site.kind == "neuron" or site.part in ("mlp", "mid")) and not shape.d_mlp:
        raise lacks("its blocks have no MLP")
    if site.kind == "neuron":
        if not shape.has_neurons:
            whole = format_site(Site("layer", site.layers, part="mlp"))
            raise lacks(f"its MLPs are mixtures of experts, each with neurons of its own; take {whole}")
        check_count(site.index, shape.d_mlp, "neurons")
    if site.part == "mid" and not shape.has_mid:
        pre, post = (format_site(replace(site, part=part)) for part in ("pre", "post"))
        raise lacks(f"its attention and MLP read the same residual; take {pre} or {post}")


def _cut_places(edit: Edit, prompt: Prompt) -> list[tuple[int, Parameter]]:
    assert edit.edge is not None
    keys = prompt.positions(edit.edge.keys)
    places: list[tuple[int, Parameter]] = []
    for query in prompt.positions(edit.edge.queries):
        seen = tuple(key for key in keys if key <= query)
        if seen:
            places.append((query, seen))
    if not places:
        queries, wanted = format_positions(edit.edge.queries, "*"), format_positions(edit.edge.keys, "*")
        raise EditError(f"no query of {queries} sees a key of {wanted}: a query sees the keys at or before it")
    return places


def _partners(
    edit: Edit, places: list[tuple[int, Parameter]], prompt: Prompt, around: Surroundings
) -> list[tuple[int, Parameter]]:
    if not around.source:
        raise EditError("patch takes its values from a source prompt, and the session has none")
    places = [place for place in places if place[0] < prompt.end]
    two_axes = edit.site.part in ("pattern", "scores")
    lonely: list[int] = []
    for position, _ in places:
        wanted = range(position + 1) if two_axes else range(position, position + 1)
        lonely += [p for p in wanted if around.alignment[p] < 0 and p not in lonely]
    if lonely:
        named = ", ".join(f'{p} "{prompt.texts[p]}"' for p in lonely[:4]) + (", ..." if len(lonely) > 4 else "")
        have = [p for p in range(prompt.end) if around.alignment[p] >= 0]
        example = f"; name positions that have one, as in @{_runs(have)}" if have and not two_axes else ""
        plural = "tokens" if len(lonely) > 1 else "token"
        verb = "have" if len(lonely) > 1 else "has"
        raise EditError(f"{plural} {named} {verb} no partner in the source{example}")
    return [(position, around.alignment[position]) for position, _ in places]


def _runs(positions: list[int]) -> str:
    """0,1,2,5 -> "0-2,5"."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][-1] == position - 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)

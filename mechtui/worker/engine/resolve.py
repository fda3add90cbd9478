"""Edits -> actions: what a session's lines mean for this model and these tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mechtui.session.document import Edit, ModelShape, Positions, Range, Session, Site, Span, TokenPlaces, Vector
from mechtui.session.lines import format_edit, format_positions, format_site
from mechtui.worker.engine.actions import Action, Actions, Ids, Parameter, Steering

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
    """What an edit may refer to besides the prompt. bos: whether texts begin with BOS."""

    def __init__(
        self,
        session: Session,
        shape: ModelShape,
        bos: bool,
        source: Ids,
        alignment: tuple[int, ...],
        references: tuple[Ids, ...],
    ) -> None:
        self.session = session
        self.shape = shape
        self.bos = bos
        self.source = source
        self.alignment = alignment
        self.references = references


def resolve(edit: Edit, prompt: Prompt, around: Surroundings) -> Actions:
    """The actions of one edit, in rising layers. Raises EditError."""
    where = hooks(edit, around.shape)
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


def hooks(edit: Edit, shape: ModelShape) -> list[tuple[str, int, tuple[int, ...] | None]]:
    """(hook point, layer, heads or neurons; None: the whole width) of each place that the edit names, in rising
    layers. Raises EditError."""
    site = edit.site
    if site.kind in ("embed", "pos"):
        if site.kind == "pos" and not shape.has_pos:
            raise EditError("this model adds no position embedding to the residual stream, so there is no pos")
        return [("hook_embed" if site.kind == "embed" else "hook_pos_embed", -1, None)]
    layers = _existing(site.layers, shape.n_layers, "layer", site)
    if site.kind == "head":
        groups = site.part in ("k", "v") and shape.n_kv_heads != shape.n_heads
        count, what = (shape.n_kv_heads, "key-value group") if groups else (shape.n_heads, "head")
        index = _existing(site.index, count, what, site)
        part = "pattern" if edit.op == "cut" else site.part or "z"
        return [(f"blocks.{layer}.{HEAD_HOOKS[part]}", layer, index) for layer in layers]
    if site.kind == "neuron" or site.part == "mlp":
        if not shape.d_mlp:
            raise EditError(f"this model has no MLP, so there is no {format_site(site)}")
        if site.kind == "neuron":
            if not shape.has_neurons:
                raise EditError(
                    f"{format_site(site)}: the MLP of this model is a mixture of experts; edit its mlp instead"
                )
            index = _existing(site.index, shape.d_mlp, "neuron", site)
            return [(f"blocks.{layer}.mlp.hook_post", layer, index) for layer in layers]
    if site.part == "mid" and not shape.has_mid:
        raise EditError("attention and MLP of this model read the same residual, so there is no mid; use pre or post")
    return [(f"blocks.{layer}.{LAYER_HOOKS[site.part or 'pre']}", layer, None) for layer in layers]


def _existing(span: Span, count: int, what: str, site: Site) -> tuple[int, ...]:
    top = span.first if span.last is None else span.last
    if top >= count:
        raise EditError(f"{format_site(site)}: there is no {what} {top}; this model has {count}, 0 to {count - 1}")
    return tuple(span.within(count))


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
        plain = format_edit(edit)
        plural = "tokens" if len(lonely) > 1 else "token"
        verb = "have" if len(lonely) > 1 else "has"
        raise EditError(f"{plain}: {plural} {named} {verb} no partner in the source{example}")
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

"""Whether a model's numbers are those of Hugging Face's own forward: a short text, an edit at every pattern and one at
every z, on the model's own weights.

All of it happens when nothing else is asked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mechtui.engine.api import Cancelled, Engine
from mechtui.engine.runner import never
from mechtui.link.messages import Checked
from mechtui.selftest import plain
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.hook_edits import EditError, Ids
from mechtui.session.prompt import Prompt, Surroundings
from mechtui.session.resolve import resolve

TEXT = "When Mary and John went to the store"
TOKENS = 8
# What is compared, the edit line of each, and the same by hand.
EDITS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    # One head, since a norm behind the attention takes out what all of them have in common.
    "pattern": ("scale L*H0.pattern x-2", lambda pattern: torch.cat([pattern[:1] * -2, pattern[1:]])),
    "z": ("zero L*H*", torch.zeros_like),
}
# The largest difference that rounding explains, as a share of the largest logit.
TOLERANCE = {torch.float32: 5e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class Plain:
    """Hugging Face's own model, before the bridge takes its modules over: the same weights in modules of its own.

    ids: the first few of a text; without any, nothing is run. logits: by what is compared ("logits" without an edit,
    "pattern", "z") [pos, d_vocab], float32, as far as they were run; edits only where the architecture is described.
    """

    def __init__(self, model: Any, ids: Sequence[int]) -> None:
        self.ids: Ids = tuple(ids[: min(TOKENS, getattr(model.config, "max_position_embeddings", None) or TOKENS)])
        self.logits: dict[str, Tensor] = {}
        self._cancelled: Callable[[], bool] = never
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        self.model = copy.deepcopy(model, shared)
        for module in self.model.modules():
            module.register_forward_pre_hook(self._stop)

    def _stop(self, *_: object) -> None:
        if self._cancelled():
            raise Cancelled

    def run(self, cancelled: Callable[[], bool] = never) -> dict[str, Tensor]:
        """The logits that are still missing -> all of them. Raises Cancelled, in the middle of a run."""
        self._cancelled = cancelled
        if self.ids and "logits" not in self.logits:
            self.logits["logits"] = plain.logits(self.model, self.ids).float()
        if self.ids and plain.family(self.model) is not None:
            for site, (_, change) in EDITS.items():
                if site not in self.logits:
                    self.logits[site] = plain.run(self.model, self.ids, _changing(site, change))[0].float()
        return self.logits


def _changing(site: str, change: Callable[[Tensor], Tensor]) -> plain.Act:
    return lambda where, _layer, value: change(value) if where == site else value


def compare(engine: Engine, reference: Plain, cancelled: Callable[[], bool]) -> Checked:
    """The engine's runs against the plain ones. Raises Cancelled."""
    model = engine.model
    plainly = reference.run(cancelled)
    if not plainly:
        return Checked(model.ready.name)
    known = plainly["logits"][plainly["logits"].isfinite()]
    tolerance = TOLERANCE[model.dtype] * float(known.abs().max() if known.numel() else 0.0)
    differences: dict[str, float] = {}
    for site, logits in plainly.items():
        if site != "logits" and _largest(logits, plainly["logits"]) < 10 * tolerance:
            continue  # too little happens to tell
        try:
            edits = () if site == "logits" else _hook_edits(engine, EDITS[site][0], reference.ids)
        except EditError:
            continue  # refused already, with its reason, where it is written
        ours = engine.run(reference.ids, edits, (), cancelled).logits()
        differences[site] = _largest(ours, logits.to(ours.device))
    return Checked(model.ready.name, differences, tolerance, _sentence(model.ready.name, differences, tolerance))


def _largest(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference. What is no number, or infinite, on both sides is the same; on one side only it is
    infinitely far away."""
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    return float((ours - theirs).abs().nan_to_num(torch.inf, torch.inf).masked_fill(same, 0.0).max())


def _hook_edits(engine: Engine, line: str, ids: Ids) -> Any:
    prompt = Prompt(ids, ("",) * len(ids), len(ids))
    return resolve(parse_edit(line), prompt, Surroundings(engine.model.ready))


def _sentence(name: str, differences: dict[str, float], tolerance: float) -> str:
    """What does not hold; empty where all does."""
    wrong = {site: value for site, value in differences.items() if not value <= tolerance}
    if "logits" in wrong:
        return (
            f"Self-check: logits are up to {wrong['logits']:.2g} away from Hugging Face's own, "
            f"so do not trust the numbers of {name}."
        )
    if wrong:
        return (
            f"Self-check: edits at {' and '.join(wrong)} give logits up to {max(wrong.values()):.2g} away from a plain "
            f"hook's, so do not trust such edits of {name}."
        )
    return ""

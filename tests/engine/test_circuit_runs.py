"""Circuits over cases: every number by plain hooks on Hugging Face's own modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mechtui.engine.api import Engine, SessionError
from mechtui.evidence import ratio
from mechtui.session.document import Session
from mechtui.session.storage import load
from mechtui.views import check_questions, parse_question
from mechtui.views.faithfulness import Faithfulness, FaithfulnessAnswer, Part
from tests.engine.conftest import load_now
from tests.engine.twin import CLOSE, Twin, make_twin

NAMES = (" Mary", " John")
PROMPTS = (
    *(f"When{one} and{two} went to the store,{two} gave a drink to" for one in NAMES for two in NAMES),
    "When Mary went to the store",
    "When John went to the store",
    "When Mary gave",  # no other one is as long
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "cases.csv").write_text("prompt\n" + "\n".join(f'"{prompt}"' for prompt in PROMPTS))
    return Session(prompt="When", answer=" Mary", foil=" John", cases=str(tmp_path / "cases.csv"))


def places(plain: Any) -> Iterator[tuple[str, Any, bool]]:
    """(name, module, whether what enters it counts) of every layer's heads and MLP."""
    gpt2 = hasattr(plain, "transformer")
    for layer, block in enumerate(plain.transformer.h if gpt2 else plain.model.layers):
        yield f"{layer}.z", block.attn.c_proj if gpt2 else block.self_attn.o_proj, True
        yield f"{layer}.mlp", block.mlp, False


@contextmanager
def changed(plain: Any, change: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module, enters in places(plain):
            if enters:
                handle = module.register_forward_pre_hook(lambda _m, args, n=name: (change(n, args[0]), *args[1:]))
            else:
                handle = module.register_forward_hook(lambda _m, _i, out, n=name: change(n, out))
            stack.callback(handle.remove)
        yield


@torch.no_grad()
def difference(twin: Twin, ids: list[int], change: Callable[[str, Tensor], Tensor]) -> float:
    with changed(twin.plain, change):
        logits = twin.plain(torch.tensor([ids])).logits[0, -1]
    answer, foil = (twin.text_ids(text, ())[0] for text in (" Mary", " John"))
    return float(logits[answer] - logits[foil])


def by_hand(twin: Twin, session: Session, ablated: set[Part]) -> np.ndarray:
    """[case]: with these heads and MLPs at their means over the prompts of the same length."""
    heads = twin.engine.model.shape.n_heads
    every = [list(twin.engine.open(Session(prompt=prompt)).ids) for prompt in PROMPTS]
    values: dict[int, dict[str, list[Tensor]]] = {}
    for ids in every:

        def note(name: str, value: Tensor, length: int = len(ids)) -> Tensor:
            values.setdefault(length, {}).setdefault(name, []).append(value[0].clone())
            return value

        difference(twin, ids, note)
    found = []
    for ids in every:
        means = {name: torch.stack(each).mean(0) for name, each in values[len(ids)].items()}

        def ablate(name: str, value: Tensor, means: dict[str, Tensor] = means) -> Tensor:
            layer, what = name.split(".")
            if what == "mlp":
                return means[name][None] if Part(int(layer)) in ablated else value
            new = value.clone().view(*value.shape[:2], heads, -1)
            mean = means[name].view(value.shape[1], heads, -1)
            for head in range(heads):
                if Part(int(layer), head) in ablated:
                    new[0, :, head] = mean[:, head]
            return new.flatten(2)

        found.append(difference(twin, ids, ablate) if sum(len(other) == len(ids) for other in every) > 1 else np.nan)
    return np.array(found)


@pytest.mark.parametrize("line", ["faithfulness L0H1 L1H2", "faithfulness L1H0-1 L0.mlp", "faithfulness mlps"])
def test_a_circuit_is_what_plain_hooks_make_of_it(twin: Twin, session: Session, line: str) -> None:
    question = parse_question(line)
    assert isinstance(question, Faithfulness)
    *_, (answer, edited, more) = twin.engine.open(session).answer(question)
    assert isinstance(answer, FaithfulnessAnswer)
    assert edited is None
    assert not more
    shape = twin.engine.model.shape
    every = {Part(layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)}
    every |= {Part(layer) for layer in range(shape.n_layers)} if question.mlps else set()
    kept = set(question.kept)
    model, circuit, nothing, without = (
        by_hand(twin, session, ablated) for ablated in (set(), every - kept, every, kept)
    )
    assert abs(np.nanmean(model) - np.nanmean(nothing)) > 10 * CLOSE
    for name, values in (("model", model), ("circuit", circuit), ("nothing", nothing), ("without", without)):
        got = getattr(answer, name)
        assert got.n == len(PROMPTS) - 1
        assert got.mean == pytest.approx(np.nanmean(values), abs=CLOSE), name
    assert answer.left_out == 1
    faithful, complete = ((np.nanmean(a) - np.nanmean(b)) for a, b in ((circuit, nothing), (model, without)))
    whole = np.nanmean(model) - np.nanmean(nothing)
    assert answer.faithfulness.value == pytest.approx(faithful / whole, rel=1e-3, abs=1e-3)
    assert answer.completeness.value == pytest.approx(complete / whole, rel=1e-3, abs=1e-3)
    for part, drop in zip(question.kept, answer.drops, strict=True):
        less = by_hand(twin, session, every - kept | {part})
        assert drop.mean == pytest.approx(np.nanmean(circuit - less), abs=CLOSE), part


def test_the_whole_model_is_faithful_and_complete_and_no_head_is_neither() -> None:
    engine = Engine(load_now("attn-only-2l"))
    opened = engine.open(Session(prompt="When", cases="repeat 8"))
    for line, share in (("faithfulness L0-1H0-7", 1.0), ("faithfulness", 0.0)):
        *_, (answer, _, _) = opened.answer(parse_question(line))
        assert isinstance(answer, FaithfulnessAnswer)
        assert answer.faithfulness.value == pytest.approx(share, abs=1e-4)
        assert answer.completeness.value == pytest.approx(share, abs=1e-4)
    for line, said in (("faithfulness L9H9", "has no L9H9 to keep"), ("faithfulness mlps", "has no MLPs to ablate")):
        with pytest.raises(SessionError, match=said):
            list(opened.answer(parse_question(line)))


def test_a_ratio_is_that_of_resampled_pairs() -> None:
    rng = np.random.default_rng(3)
    below = rng.normal(3, 1, 50)
    above = 0.8 * below + rng.normal(0, 0.3, 50)
    drawn = np.random.default_rng(0).integers(0, 50, (2000, 50))
    ratios = above[drawn].mean(1) / below[drawn].mean(1)
    said = ratio(np.append(above, np.nan), np.append(below, 1.0))
    assert said.n == 50
    assert said.value == pytest.approx(above.mean() / below.mean())
    assert (said.low, said.high) == pytest.approx(tuple(np.percentile(ratios, [2.5, 97.5])), abs=1e-12)


def test_the_circuit_that_ships_can_be_read() -> None:
    shipped = load(str(ROOT / "docs" / "sessions" / "ioi-gpt2.toml"))
    check_questions(shipped.views)
    question = parse_question(shipped.views[0])
    assert isinstance(question, Faithfulness)
    assert len(question.kept) == 26
    assert not question.mlps
    assert all(part.layer < 12 and part.head < 12 for part in question.kept)

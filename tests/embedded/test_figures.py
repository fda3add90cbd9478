"""Each acceptance line on the shipped weights, as `mechtui selftest` measures it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mechtui import embedded, selftest
from mechtui.embedded import ABOUT, DEMO_ANSWER, DEMO_FOIL, DEMO_PROMPT, DEMO_SOURCE, MODELS, folder
from mechtui.selftest import checks, heads, indirect_object, report, skills
from mechtui.selftest.subject import Subject, load

MEGABYTES = 32


@pytest.fixture(scope="module")
def demo() -> Subject:
    return load("demo")


EXPECTED = (
    "IOI, held-out pairs: accuracy",
    "IOI, held-out pairs: logit difference",
    "IOI, held-out templates: accuracy",
    "IOI, held-out templates: logit difference",
    "name mover: attention from END to IO",
    "random repeats: second-half loss / first-half loss",
    "best induction score",
    "previous-token head in an earlier layer",
    "its K-composition with an induction head / mean of all pairs",
    "second-half loss without the induction heads / with them",
    "agreement across a distractor",
    "capitals, held-out phrasings",
    "orders: days",
    "orders: months",
    "orders: numbers",
    "positive share at -2",
    "positive share at 2",
    "steered text, loss of the unsteered model / that of its own text",
    "res2: features on at a token",
    "res2: variance explained",
    "res2: loss recovered",
    "res2: share of its labels that are right at over 80 % of places",
    "res2: a name's feature clamped: its logit rises",
    "mlp3: features on at a token",
    "mlp3: variance explained",
    "mlp3: loss recovered",
    "mlp3: share of its labels that are right at over 80 % of places",
)


def test_the_demo_has_what_its_card_claims(demo: Subject) -> None:
    """In one test, since whichever process asks for one line measures them all."""
    lines = {check.what: check for check in checks.demo(demo)}
    wrong = [
        f"{what}: expected {check.expected}, measured {check.measured}"
        for what in EXPECTED
        if not (check := lines[what]).passed
    ]
    assert not wrong
    timed = {"load and first answer, seconds"}  # a clock on a busy machine proves nothing
    unasserted = {what for what, check in lines.items() if check.passed is not None} - set(EXPECTED) - timed
    assert unasserted <= {"orders: letters", "orders: digits"}


@pytest.mark.parametrize("name", ["attn-only-1l", "attn-only-2l"])
def test_induction_needs_two_layers(name: str) -> None:
    (check, *_) = checks.attention_only(load(name))
    assert check.passed, check.measured


def test_the_prompt_to_begin_with_shows_something(demo: Subject) -> None:
    tokens, ends = demo.batch([demo.ids(DEMO_PROMPT), demo.ids(DEMO_SOURCE)])
    assert ends[0] == ends[1]
    logits = demo.logits(tokens)[torch.arange(2), ends]
    answer, foil = demo.token(DEMO_ANSWER), demo.token(DEMO_FOIL)
    assert logits.argmax(-1).tolist() == [answer, foil]
    assert logits[0].softmax(-1)[answer] > 0.5


def test_before_has_no_induction_and_during_has_some() -> None:
    ratios = []
    for name in ("demo@before", "demo@during", "demo"):
        scores = heads.repeat_scores(load(name), lengths=(48,))
        ratios.append(scores.second_half / scores.first_half)
    assert ratios[0] > 0.8
    assert 0.15 < ratios[1] < 0.8
    assert ratios[2] < 0.1


def test_contributions_add_up(demo: Subject) -> None:
    given = indirect_object.prompts(demo, indirect_object.held_pairs, 30, seed=3)
    found = indirect_object.movers(demo, given)
    assert found.total == pytest.approx(indirect_object.accuracy(demo, given).difference, abs=1e-3)


def test_contributions_add_up_without_mlps() -> None:
    subject = load("attn-only-2l")
    given = indirect_object.prompts(subject, indirect_object.held_pairs, 30, seed=3)
    found = indirect_object.movers(subject, given)
    assert found.total == pytest.approx(indirect_object.accuracy(subject, given).difference, abs=1e-3)


class Vocabulary:
    """50 tokens, all of which stand for text."""

    all_special_ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        return 50


def test_scores_are_what_the_definitions_say() -> None:
    class OneHead(Subject):
        """Attends to t - n + 1 in the second half, to the first position before."""

        @property
        def n_layers(self) -> int:
            return 1

        @property
        def n_vocab(self) -> int:
            return 50

        @property
        def n_ctx(self) -> int:
            return 65

        @property
        def tokenizer(self) -> Vocabulary:
            return Vocabulary()

        @property
        def bos(self) -> int:
            return 0

        def patterns(self, tokens: torch.Tensor) -> torch.Tensor:
            size = tokens.shape[1]
            n = (size - 1) // 2
            pattern = torch.zeros(1, len(tokens), 1, size, size)
            for t in range(size):
                pattern[:, :, :, t, t - n + 1 if t > n else 0] = 1
            return pattern

        def logits(self, tokens: torch.Tensor, hooks: list[heads.Hook] | None = None) -> torch.Tensor:
            return torch.zeros(*tokens.shape, 50)

    scores = heads.repeat_scores(OneHead("one", None, 0.0), lengths=(32,), count=2)
    assert scores.induction.item() == 1
    assert scores.duplicate.item() == 0
    assert scores.previous.item() == pytest.approx(0.0)
    assert scores.first_half == pytest.approx(torch.log(torch.tensor(50.0)).item(), abs=1e-4)


def test_zeroing_leaves_no_hook_behind(demo: Subject) -> None:
    tokens = heads.repeats(demo, 16, 1, 0)
    before = demo.logits(tokens)
    heads.loss_without(demo, [(1, 0)])
    assert torch.equal(demo.logits(tokens), before)


def test_coefficient_zero_is_no_steering(demo: Subject) -> None:
    vector = skills.mood_vector(demo, checks.STEER_LAYER)
    one = skills.steer(demo, vector, checks.STEER_LAYER, 0.0, prompts=3, length=5)
    other = skills.steer(demo, vector * 0, checks.STEER_LAYER, 1.0, prompts=3, length=5)
    assert one.texts == other.texts


def test_the_table_and_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [checks.at_least("one", 1.0, 0.5), checks.noted("two", "[b]not markup[/b]")]
    out = io.StringIO()
    monkeypatch.setattr(checks, "for_model", lambda subject, published: iter(made))
    assert selftest.run("attn-only-1l", console=Console(file=out, width=100)) == 0
    assert "pass" in out.getvalue()
    assert "[b]not markup[/b]" in out.getvalue()
    made.append(checks.at_most("three", 1.0, 0.5))
    assert selftest.run("attn-only-1l", console=Console(file=out, width=100)) == 1
    assert "FAIL" in out.getvalue()
    assert "| three | <= 0.5 | 1.00 | FAIL |" in report.markdown(made)


def test_no_such_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest.run(str(tmp_path / "nothing")) == selftest.NO_MODEL
    assert capsys.readouterr().err.startswith("mechtui: there is no folder ")


def test_what_travels_is_small_and_complete() -> None:
    total = 0
    for name, place in MODELS.items():
        for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "CARD.md"):
            assert (place / file).is_file(), f"{name} lacks {file}"
        json.loads((place / "log.json").read_text())
        total += sum(file.stat().st_size for file in place.iterdir())
    assert total <= MEGABYTES * 2**20
    assert ABOUT.keys() == MODELS.keys()


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="attn-only-1l"):
        folder("dmo")


def test_listing_the_models_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, mechtui.embedded, mechtui.selftest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert embedded.WEIGHTS.is_dir()

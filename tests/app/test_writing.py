"""What is copied, and what `write` puts into files: every format read back says what the pane's answer says."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from mechtui.app.app import Mechtui
from mechtui.app.line import Rows
from mechtui.app.writing import OF_PANE, is_write, parse
from mechtui.link.messages import Checked
from mechtui.paint.numbers import signed
from mechtui.panes.picture import OVER
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.views import parse_question
from mechtui.views.attention import AttentionAnswer
from mechtui.views.effects import Effects
from mechtui.views.heads import HeadsAnswer
from tests.app.answering import app, idle, session
from tests.app.test_app import screen

SIZE = (160, 50)
# What would make a reader of a picture ask a server.
LOADED = r"url\((?!#)|@import|@font-face|href="


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


async def live(it: Mechtui, pilot: Pilot[int]) -> None:
    await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running and it.up_to_date)


async def write(it: Mechtui, pilot: Pilot[int], line: str) -> str:
    """Put a line in, press enter -> what is on the screen then."""
    await pilot.press("colon")
    await idle(pilot)
    it.line.field.value = line
    await pilot.press("enter")
    await idle(pilot)
    return " ".join(screen(it).split())


def answers_of(it: Mechtui, view: str) -> tuple[object, object]:
    pane = it.board.panes[view]
    assert pane.picture is not None
    [answered] = pane.answers(pane.picture)
    return answered.clean, answered.edited


# Copying


async def test_y_copies_the_value_and_Y_the_row_with_tabs(monkeypatch):
    it, _, _ = app(session("zero L9H9 @-1", "# scale L10H7 x0"))
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        it.go("attention")
        it.look(replace(it.focus, key=3))
        await pilot.press("y")
        await idle(pilot)
        _, edited = answers_of(it, "attention")
        assert isinstance(edited, AttentionAnswer)
        assert it.clipboard == f"{edited.table[-1, 3]:.6g}"
        await pilot.press("Y")
        await idle(pilot)
        assert it.clipboard.split("\t") == [f"{value:.6g}" for value in edited.table[-1]]
        it.go("effects")
        await pilot.press("j", "Y")
        await idle(pilot)
        state, line, effect = it.clipboard.split("\t")
        assert (state, line) == ("off", "scale L10H7 x0")
        assert float(effect) == pytest.approx(it.board.panes["effects"].picture.answered[0].clean.effect[1], rel=1e-5)


def named(words: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(words) if name == option]


async def test_gy_copies_the_command_of_what_is_open():
    start = session("zero L9H9 @-1", "# scale L10H7 x0", prompt='Mary\'s "$HOME" `ls`;\nthen\\', source="other")
    it, _, _ = app(start, device="cpu", fold_ln=True)
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        await pilot.press("g", "y")
        await idle(pilot)
        words = shlex.split(it.clipboard)
        assert words[:2] == ["mechtui", "run"]
        for name in ("model", "prompt", "source", "answer", "foil"):
            assert named(words, f"--{name}") == [getattr(start, name)]
        assert named(words, "--edit") == ["zero L9H9 @-1", "# scale L10H7 x0"]
        assert named(words, "--device") == ["cpu"]
        assert "--fold-ln" in words
        views = named(words, "--view")
        assert {"attention", "next_tokens", "tokens", "effects"} <= {line.split()[0] for line in views}
        assert all(parse_question(line) for line in views)
        assert "Copied" in screen(it)


# The line


@pytest.mark.parametrize(
    ("line", "what", "file"),
    [
        ("write a.csv", "heads", "a.csv"),
        ('write  "a b.SVG" ', "heads", "a b.SVG"),
        ('write lens "a b.csv"', "lens", "a b.csv"),
        ("write ./a b.csv", "heads", "./a b.csv"),
        ("write attention a.npz", "attention", "a.npz"),
        ("write screen a.svg", "screen", "a.svg"),
        ("write report r.md", "report", "r.md"),
        ("write screen.svg", "heads", "screen.svg"),
    ],
)
def test_a_line_names_what_and_where(line: str, what: str, file: str) -> None:
    assert is_write(line)
    assert parse(line, "heads") == (what, file)


@pytest.mark.parametrize("line", ["write a", "write a.png", "write screen a.csv", "write report r.pdf", "write screen"])
def test_another_ending_is_refused_with_those_that_there_are(line: str) -> None:
    with pytest.raises(CannotError, match=r"should end in .*\.(html|txt|md)"):
        parse(line, "heads")


def test_a_word_that_is_no_view_is_refused_with_the_nearest() -> None:
    for word in ("atention", "NOVIEW"):
        with pytest.raises(CannotError, match=f"{word} is nothing that can be written: ") as refused:
            parse(f"write {word} x.csv", "heads")
        assert ("did you mean attention?" in str(refused.value)) == (word == "atention")
        assert "blanks stands in double quotes" in str(refused.value)
    with pytest.raises(CannotError, match="is not text"):
        parse('write "a b.csv', "heads")


async def test_completion_offers_the_pane_the_screen_and_the_report():
    it, _, _ = app(session())
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        it.go("heads")
        await pilot.press("E")
        await idle(pilot)
        assert it.line.field.value == "write heads.csv"
        offered = [row.line for row in it.line.query_one(Rows).rows]
        assert offered == [f"write heads{ending}" for ending in OF_PANE if ending != ".csv"]
        it.line.field.value = "write "
        await idle(pilot)
        lines = [row.line for row in it.line.query_one(Rows).rows]
        assert lines[:6] == [f"write heads{ending}" for ending in OF_PANE]
        assert {"write screen screen.svg", "write report report.html", "write attention attention.npz"} <= set(lines)
        it.line.field.value = "write mine"
        await idle(pilot)
        assert [row.line for row in it.line.query_one(Rows).rows][:2] == ["write mine.csv", "write mine.json"]
        await pilot.press("tab", "enter")
        await idle(pilot)
        assert Path("mine.csv").exists()


async def test_a_file_that_is_there_is_written_over_after_a_second_enter():
    it, _, _ = app(session())
    Path("a.csv").write_text("mine")
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        it.go("heads")
        said = await write(it, pilot, "write a.csv")
        assert "a.csv is there already; enter writes over it, esc does not" in said
        assert Path("a.csv").read_text() == "mine"
        await pilot.press("enter")
        await idle(pilot)
        assert Path("a.csv").read_text().startswith("question,run,table,row,column,value,unit,text\n")
        assert Path("a.csv").stat().st_mode & 0o077 == 0


async def test_what_is_not_on_the_screen_or_not_there_says_so():
    it, _, model = app(session())
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        assert "Generate is not on the screen: g c brings it up" in await write(it, pilot, "write generate a.csv")
        await pilot.press("escape", "g", "c")
        await idle(pilot)
        assert "Generate has no numbers yet" in await write(it, pilot, "write a.csv")
        await pilot.press("escape")
        model.mute = True
        it.go("heads")
        await pilot.press("z")
        await idle(pilot)
        assert "of an earlier state of the session" in await write(it, pilot, "write heads a.csv")
    assert not Path("a.csv").exists()


# Read back


async def test_csv_json_and_npz_say_what_the_answer_says():
    it, _, _ = app(session("zero L9H9 @-1"))
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        it.go("heads")
        for ending in ("csv", "json", "npz"):
            assert f"Wrote Heads to h.{ending}" in await write(it, pilot, f"write h.{ending}")
        clean, edited = answers_of(it, "heads")
        runs = {"clean": clean, "edited": edited}
        rows = list(csv.DictReader(io.StringIO(Path("h.csv").read_text())))
        assert len(rows) == 2 * 144
        for run, answer in runs.items():
            assert isinstance(answer, HeadsAnswer)
            cells = {(row["row"], row["column"]): row["value"] for row in rows if row["run"] == run}
            for (layer, head), value in np.ndenumerate(answer.values):
                assert np.float32(cells[f"L{layer}", f"H{head}"]) == value
            assert {row["unit"] for row in rows} == {"nats"}
            said = json.loads(Path("h.json").read_text())
            assert said[run] == {"heads entropy": answer.json()}
            assert said["model"]["name"] == "gpt2"
            arrays = np.load("h.npz", allow_pickle=False)
            np.testing.assert_array_equal(arrays[f"{run}/heads entropy/values"].astype(np.float32), answer.values)
        assert json.loads(str(np.load("h.npz", allow_pickle=False)["json"])) == said


class Tags(HTMLParser):
    """What a page is made of. open: tags that were not closed."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read_page(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert not tags.open
    return tags


async def test_text_picture_and_page_have_every_row():
    prompt = " ".join(f"word{at}" for at in range(60))
    it, _, _ = app(session("zero L9H9 @-1", prompt=prompt))
    async with it.run_test(size=(100, 30)) as pilot:
        await live(it, pilot)
        it.go("attention")
        it.put(parse_question("attention L0H0 whole"))
        await idle(pilot)
        await live(it, pilot)
        before = screen(it)
        for ending in ("txt", "svg", "html"):
            assert "Wrote Attention" in await write(it, pilot, f"write a.{ending}")
        text = Path("a.txt").read_text()
        assert [f"word{at}" in text for at in range(60)] == [True] * 60
        assert text.startswith("Attention L0H0 pattern edited")
        picture = ElementTree.parse("a.svg")
        drawn = "".join(picture.getroot().itertext())
        assert "word59" in drawn
        assert not re.search(LOADED, Path("a.svg").read_text())
        page = read_page(Path("a.html").read_text())
        assert {f"{at} ·word{at}" for at in range(1, 60)} <= set(page.texts)
        # Drawing all of it leaves the pane as it was.
        await pilot.press("escape")
        await idle(pilot)
        assert [line.split("│")[0] for line in screen(it).splitlines()[4:-3]] == [
            line.split("│")[0] for line in before.splitlines()[4:-3]
        ]


async def test_text_has_what_the_width_cuts_off():
    long = "zero L9H9 @" + ",".join(map(str, range(0, 90, 2)))
    it, _, _ = app(session(long))
    async with it.run_test(size=(80, 24)) as pilot:
        await live(it, pilot)
        for view, whole in (("scores", "copying"), ("effects", long)):
            it.go(view)
            await live(it, pilot)
            pane = it.board.panes[view]
            assert whole not in screen(it)
            assert f"Wrote {pane.VIEW.title}" in await write(it, pilot, f"write {view}.txt")
            assert whole in Path(f"{view}.txt").read_text()


async def test_the_screen_is_written_without_the_line_that_asks_for_it():
    it, _, _ = app(session("zero L9H9 @-1"))
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        await write(it, pilot, "write screen s.txt")
        await idle(pilot, Path("s.txt").exists)
        text = Path("s.txt").read_text()
        assert "Next token" in text
        assert "write screen" not in text
        await write(it, pilot, "write screen s.svg")
        await idle(pilot, Path("s.svg").exists)
        assert "Wrote the screen to s.svg: a picture." in screen(it)
        drawn = "".join(ElementTree.parse("s.svg").getroot().itertext()).replace("\xa0", " ")
        assert "Next token" in drawn
        assert not re.search(LOADED, Path("s.svg").read_text())


async def test_p_writes_a_report_of_all_that_is_open():
    it, link, _ = app(session("zero L9H9 @-1"))
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        link.on_reply(Checked("gpt2", {"logits": 1e-5}, 0.01))
        await idle(pilot)
        await pilot.press("P")
        await idle(pilot)
        assert it.line.field.value == "write report report.html"
        await pilot.press("enter")
        await idle(pilot)
        assert "Wrote the report to report.html" in screen(it)
        page = read_page(Path("report.html").read_text())
        text = "".join(page.texts)
        for view in it.board.seen():
            pane = it.board.panes[view]
            if pane.picture is not None and pane.answers(pane.picture):
                assert pane.VIEW.title in text
        assert "it holds, largest difference 1e-05 logits" in text
        assert "mechtui run --model gpt2" in text
        assert 'edits = ["zero L9H9 @-1"]' in text
        await write(it, pilot, "write report report.md")
        assert "## Attention: attention L0H0" in Path("report.md").read_text()


async def test_a_report_says_what_each_edit_does_though_no_pane_does():
    it, _, model = app(session("zero L9H9 @-1", "# scale L10H7 x0"))
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        it.go("lens")
        await pilot.press("f")
        await live(it, pilot)
        assert "effects" not in it.board.seen()
        it.look(replace(it.focus, position=3))
        await live(it, pilot)
        assert not any(isinstance(each, Effects) and each.position == 3 for ask in model.asks for each in ask.questions)
        await write(it, pilot, "write report r.md")
        await idle(pilot, Path("r.md").exists)
        answered = model.answer(Effects(3), it.session, 0)
        rows = [line for line in Path("r.md").read_text().splitlines() if line.startswith(("| zero", "| scale"))]
        assert len(rows) == 2
        for row, effect in zip(rows, answered.effect, strict=True):
            assert f"{signed(effect).strip()} logits alone" in row.replace("\\", "")
        asked = len(model.asks)
        await pilot.press("right")
        await live(it, pilot)
        late = [each for ask in model.asks[asked:] for each in ask.questions]
        assert not any(isinstance(each, Effects) for each in late), "it is asked for the report only"
        # A report waits for no job.
        over = replace(it.picture, session=replace(it.session, cases="ioi 8"))
        *_, last = it.board.questions(over, it.here, (Effects(3),))
        assert last == OVER


async def test_two_reports_that_wait_are_both_written():
    it, link, model = app(session("zero L9H9 @-1"))
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        model.mute = True
        it.look(replace(it.focus, position=3))
        await write(it, pilot, "write report one.md")
        await write(it, pilot, "write report two.md")
        assert not Path("one.md").exists()
        assert not Path("two.md").exists()
        for reply in model.answers(model.asks[-1]):
            link.reply(reply)
        await idle(pilot, lambda: Path("one.md").exists() and Path("two.md").exists())


HOSTILE = (
    "</title><script>alert(1)</script> <img src=x onerror=alert(2)> ]]> &amp; =cmd|'/C calc'!A0 \x1b]2;x\x07 \u202e"
)


async def test_hostile_text_stays_text_in_every_format():
    start: Session = session(prompt=HOSTILE, source=HOSTILE, answer="<b>", foil='"><i>')
    it, _, _ = app(start)
    async with it.run_test(size=SIZE) as pilot:
        await live(it, pilot)
        for line in (*(f"write tokens t{ending}" for ending in OF_PANE), "write screen s.svg", "write report r.html"):
            await write(it, pilot, line)
            await idle(pilot)
    for name in ("t.svg", "s.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(name).iter()}
        assert tags <= {"svg", "style", "defs", "clipPath", "rect", "g", "text", "circle"}
    for name in ("t.html", "r.html"):
        page = Path(name).read_text()
        tags = read_page(page)
        assert not tags.names & {"script", "img", "b" * 9, "iframe", "link"}
        assert not tags.attributes & {"src", "href", "onerror", "onload"}
        assert "script" in "".join(tags.texts)
        assert "\x1b" not in page
        assert "\u202e" not in page
    for row in csv.reader(io.StringIO(Path("t.csv").read_text())):
        assert not any(cell.startswith(("=", "@", "\t")) for cell in row)
    assert json.loads(Path("t.json").read_text())["session"]["prompt"] == HOSTILE
    assert "\x1b" not in Path("t.txt").read_text()

"""A text's perplexity on the screen, the file that a key names, and its line."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.app import kinds
from mechtui.session.changes import CannotError
from mechtui.session.document import Edit, Session, Site
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.perplexity import ORDERS, Perplexity, PerplexityAnswer
from mechtui.views.perplexity.example import example
from mechtui.views.perplexity.pane import PerplexityPane
from mechtui.views.perplexity.script import lines
from mechtui.views.script import Around
from tests.panes.pictures import Holder, pictured, shape, shown


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, pane: PerplexityPane, session: Session) -> None:
        self._pane, self.session, self.opened, self.went, self.started = pane, session, ("", ""), "", ""

    def pane(self) -> PerplexityPane:
        return self._pane

    def put(self, question: Any) -> None:
        self.session = put(self.session, question)

    def open_line(self, kind: str, text: str) -> None:
        self.opened = kind, text

    def go(self, view: str) -> None:
        self.went = view

    def start(self, job: str) -> None:
        self.started = job


async def test_the_whole_text_its_windows_and_that_they_are_old() -> None:
    clean, edited = example().clean, example().edited
    assert isinstance(clean, PerplexityAnswer)
    assert isinstance(edited, PerplexityAnswer)
    app = Holder(PerplexityPane())
    async with app.run_test(size=(140, 30)) as pilot:
        picture = pictured(example())
        app.pane.show(picture)
        await pilot.pause()
        title = str(app.pane.border_title)
        assert f"{clean.perplexity:.2f} -> {edited.perplexity:.2f} (+" in title
        assert f"mean loss {clean.mean:.2f} -> {edited.mean:.2f}" in title
        rows = shown(app.pane)
        for at in range(len(clean.loss)):
            assert {str(at), f"{clean.loss[at]:.2f}", f"{edited.loss[at]:.2f}"} <= set(rows[at + 1].split())
        assert "left out: zero L9H9 @-1" in "\n".join(rows)
        # A change of the prompt changes nothing, one of the edits does: what was measured stays, and is called old.
        for session, old in (
            (replace(picture.session, prompt="Other"), False),
            (replace(picture.session, edits=(Edit("zero", Site("embed")),)), True),
            (replace(picture.session, linear=True), True),
        ):
            app.pane.show(replace(picture, session=session, answered=()))
            await pilot.pause()
            assert ("○ old" in str(app.pane.border_title)) is old
            assert ("old, of another state" in "\n".join(shown(app.pane))) is old
        # Of another file nothing is known.
        app.pane.show(replace(picture, session=put(picture.session, Perplexity("b.txt")), answered=()))
        await pilot.pause()
        assert "b.txt: . reads it" in "\n".join(shown(app.pane))


async def test_windows_without_a_loss_are_told() -> None:
    answered = example()
    assert isinstance(answered.clean, PerplexityAnswer)
    loss = answered.clean.loss.copy()
    loss[1] = np.nan
    app = Holder(PerplexityPane())
    async with app.run_test(size=(140, 30)) as pilot:
        app.pane.show(pictured(changed(answered, clean=replace(answered.clean, loss=loss))))
        await pilot.pause()
        assert "clean: the logits of 1 window are not finite" in "\n".join(shown(app.pane))


async def test_sorted_by_the_change() -> None:
    clean, edited = example().clean, example().edited
    assert isinstance(clean, PerplexityAnswer)
    assert isinstance(edited, PerplexityAnswer)
    app = Holder(PerplexityPane())
    async with app.run_test(size=(120, 30)) as pilot:
        picture = pictured(example())
        app.pane.show(replace(picture, session=put(picture.session, Perplexity("notes.txt", by="change"))))
        await pilot.pause()
        order = np.argsort(-np.abs(edited.loss - clean.loss))
        rows = [row for row in shown(app.pane)[1:21] if row.strip()]
        assert [int(row.split()[0]) for row in rows] == order[: len(rows)].tolist()


def test_a_key_names_the_text_and_another_reads_it(tmp_path: Path) -> None:
    pane, now = PerplexityPane(), pictured(example())
    now = replace(now, session=put(now.session, Perplexity()), answered=())
    pane.picture = now
    desk = Desk(pane, now.session)
    with pytest.raises(CannotError, match="w names a text file"):
        pane.start(desk)  # type: ignore[arg-type]
    assert (desk.went, desk.started) == ("perplexity", "")
    pane.do_text_file(desk)  # type: ignore[arg-type]
    assert desk.opened == ("text_file", "")
    line = kinds.text_file(desk)  # type: ignore[arg-type]
    (tmp_path / "a.txt").write_text("words")
    assert [row.line for row in line.suggest(f"{tmp_path}/")] == [f"{tmp_path}/a.txt"]
    mistake = line.take(f"{tmp_path}/b.txt", "")
    assert mistake is not None
    assert "there is no file" in mistake.sentence
    assert line.take(f"{tmp_path}/a.txt", "") is None
    assert parse_question(desk.session.views[-1]) == Perplexity(f"{tmp_path}/a.txt")
    pane.picture = replace(now, session=desk.session)
    pane.start(desk)  # type: ignore[arg-type]
    assert desk.started == "perplexity"


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("sizes", [(0, 0), (40, 0), (0, 7), (300, 299)])
def test_the_line_says_it(by: str, sizes: tuple[int, int]) -> None:
    question = Perplexity('a "b".txt', *sizes, by, bool(sizes[0]))  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    assert question.asked() == Perplexity('a "b".txt', *sizes)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("perplexity notes.txt", "should be a text file in double quotes"),
        ('perplexity "a" window1', "window1 should be at least window2"),
        ('perplexity "a" stride0', "stride0 should be at least stride1"),
    ],
)
def test_what_the_line_does_not_take_is_said(line: str, sentence: str) -> None:
    with pytest.raises(LineError, match=sentence):
        parse_question(line)


def test_files_are_offered_and_of_a_full_folder_no_more_names_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        (tmp_path / f"n{number:02}.txt").touch()
    (tmp_path / "other.toml").touch()
    offered = kinds.text_file(Desk(PerplexityPane(), Session())).suggest  # type: ignore[arg-type]
    assert [each.text for each in offered(f"{tmp_path}/n")] == [f"{tmp_path}/n{number:02}.txt" for number in range(8)]
    assert [each.text for each in offered(f"{tmp_path}/o")] == [f"{tmp_path}/other.toml"]
    assert offered(f"{tmp_path}/none/") == []
    monkeypatch.setattr(kinds, "MOST_LISTED", 5)
    *rows, last = offered(f"{tmp_path}/")
    assert len(rows) == 5
    assert "holds more than the 5 names" in last.note
    assert not last.line


def test_a_program_reads_the_text_under_the_path_as_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for typed in ("notes.txt", "~/notes.txt"):
        code = "\n".join(lines(Perplexity(typed), Around(Session(), shape(), ())))
        assert f'pathlib.Path("{typed}").expanduser()' in code
        assert str(tmp_path) not in code

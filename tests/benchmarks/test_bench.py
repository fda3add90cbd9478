"""`mechtui bench` measures what it says: every case's numbers are those of the full runs beside it."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from mechtui.bench import keys
from mechtui.bench.cases import FULL, MECHTUI, Report, Result, cases, machine
from mechtui.bench.report import markdown, show
from mechtui.bench.screen import key_to_screen
from mechtui.bench.subject import Subject, random_subject
from mechtui.bench.timing import summary, taken_by_others
from tests.app.answering import PROMPT
from tests.app.answering import Model as Answering
from tests.fakes import FakeLink

CASES = (
    "toggle a head, layer 1, 32 tokens",
    "one token appended to 16",
    "a word changed in the middle of 32",
    "zero every head, 16 tokens",
    "patch every head, 16 tokens",
    "patch the residual, layer by position, 16 tokens",
)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return random_subject("cpu", n_layer=2, n_head=2, n_embd=32)


@pytest.mark.parametrize("name", CASES)
def test_both_ways_give_the_same_numbers(subject: Subject, name: str) -> None:
    result: Result = dict(cases(subject, 2))[name]()
    assert result.case == name
    assert {MECHTUI, FULL} <= result.timings.keys()
    assert all(timing.median > 0 for timing in result.timings.values())
    assert result.difference is not None
    assert result.difference < 1e-3 if "patch" in name else result.difference < 1e-4


def test_a_key_changes_the_screen(subject: Subject) -> None:
    figures = key_to_screen(subject, presses=4, held=0.5)
    assert 0 < figures["key_to_screen_median_ms"] <= figures["key_to_screen_95th_ms"]
    assert figures["held_key_longest_wait_ms"] > 0


async def test_what_a_key_costs_is_counted_for_every_pane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtui.link.client.Client", lambda: FakeLink(Answering().respond))
    monkeypatch.setattr(keys, "QUIET_SECONDS", 0.005)
    monkeypatch.setattr(keys, "MOVES", ("l",))
    found = await keys.measure("gpt2", PROMPT, "cpu", (80, 24), ("attention", "effects"))
    rows = {(pane, key): (bytes_, cells, ms) for pane, key, bytes_, cells, ms in found}
    assert rows["at rest", ""] == (0, 0, 0.0)
    for pane, key in (("Attention", "l"), ("Edits", "space"), ("workspace", "2"), ("prompt", "a")):
        bytes_, cells, ms = rows[pane, key]
        assert bytes_ > cells > 0, "a cell has its character at least"
        assert ms > 0


def test_the_table_of_keys_leaves_out_what_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = [("at rest", "", 0, 0, 0.0), ("Attention", "l", 299, 35, 61.4), ("Dose", "l", 0, 0, 0.0)]
    monkeypatch.setattr("mechtui.bench.screen.beside", lambda *_: json.dumps(said))
    console = Console(file=io.StringIO(), width=100)
    subject = SimpleNamespace(name="demo", device="cpu", text=lambda count: "x " * count)
    keys.show_keys(cast(Subject, subject), str(tmp_path / "keys.json"), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "at rest" in text
    assert re.search(r"Attention\W+l\W+299\W+35\W+61", text)
    assert "Dose" not in text
    assert json.loads((tmp_path / "keys.json").read_text())["80x24"][1][2] == 299


@pytest.mark.parametrize("count", [1, 16, 200])
def test_texts_have_the_wanted_number_of_tokens(subject: Subject, count: int) -> None:
    assert len(subject.model.encode(subject.text(count), "auto")) == count


def test_what_others_take_of_the_processor(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 20 30 40 50 60 70 250 0 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    assert taken_by_others(stat) == 250 / os.sysconf("SC_CLK_TCK")
    assert taken_by_others(tmp_path / "none") is None


def test_the_report(subject: Subject, tmp_path: Path) -> None:
    timings = {MECHTUI: summary([1.0, 2.0, 9.0]), FULL: summary([20.0, 20.0, 20.0])}
    report = Report(machine(subject), "some model", [Result("a case", timings, wanted=3, difference=1e-7)])
    out = io.StringIO()
    show(report, str(tmp_path / "bench.json"), Console(file=out, width=160))
    assert "10.0x (wanted 3x)" in out.getvalue()
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["results"][0]["ms"][MECHTUI] == {"median": 2.0, "low": 1.5, "high": 5.5, "repeats": 3}
    assert written["results"][0]["times_faster"] == 10
    assert "| a case | 2.0 (1.5-5.5) | 20.0 (20.0-20.0) | 10.0x | 3x |" in markdown(written)

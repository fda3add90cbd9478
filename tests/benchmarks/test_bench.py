"""`mechtui bench` measures what it says: every case's numbers are those of the full runs beside it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from mechtui.bench.cases import FULL, MECHTUI, Report, Result, cases, machine
from mechtui.bench.report import markdown, show
from mechtui.bench.screen import key_to_screen
from mechtui.bench.subject import Subject, random_subject
from mechtui.bench.timing import summary, taken_by_others

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

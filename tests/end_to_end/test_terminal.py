"""The program in a real terminal, with a real model process: keys in, a screen out."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Program
from tests.end_to_end.waiting import gone, wait_for
from tests.folders import gpt2
from tests.terminal import Terminal, ruler

Start = Callable[..., Terminal]

PROMPT = "When Mary and John went to the store"
LIVE = r"● live"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokens are words."""
    return gpt2(tmp_path_factory.mktemp("words"))


@pytest.fixture
def start(home: dict[str, str], words: Path) -> Iterator[Start]:
    """Run the app on that model and wait until its numbers are there."""
    begun: list[Terminal] = []

    def start(*arguments: str, size: tuple[int, int] = (120, 40)) -> Terminal:
        terminal = Terminal(("--model", str(words), "--prompt", PROMPT, *arguments), size, home)
        begun.append(terminal)
        terminal.until(LIVE)
        return terminal

    yield start
    for terminal in begun:
        terminal.close()


def below_the_status(terminal: Terminal) -> list[list[tuple[str, str, str, bool]]]:
    """All but the first line, which says how long the last run took."""
    return terminal.picture()[1:]


EDITS = ("zero L1H2", "patch L0.post @1", "cut L1H1 -1>0-3", "add L1.pre v x4", "mean L0.mlp")


def test_an_edit_changes_the_picture_and_turning_it_off_brings_the_first_one_back(start: Start) -> None:
    terminal = start(
        *("--source", "When John and Mary went to the store", "--answer", " Mary", "--foil", " John"),
        *("--vector", 'v = diff L1.pre "Love" "Hate"'),
        *(word for line in EDITS for word in ("--edit", f"# {line}")),
    )
    terminal.keys("ge")
    changed = []
    for line in EDITS:
        terminal.until(rf"● live[\s\S]*\[ \] {re.escape(line)}")
        off = below_the_status(terminal)
        terminal.keys(" ")
        terminal.until(r"● live[\s\S]*logit diff .*→")
        assert f"[x] {line}" in terminal.text
        changed.append(below_the_status(terminal))
        assert changed[-1] != off
        terminal.keys(" ")
        terminal.until(lambda off=off: below_the_status(terminal) == off)
        terminal.keys("j")
    assert all(one != other for one, other in pairwise(changed))


def test_the_panes_show_what_the_headless_run_prints(start: Start, mechtui: Program, words: Path) -> None:
    session = (
        *("--answer", " Mary", "--foil", " John", "--vector", 'v = diff L1.pre "When" "store"'),
        *("--edit", "zero L1H1", "--edit", "add L1.pre v x2"),
    )
    asked = ("next_tokens", "residual", "attention L0H0")
    views = [word for view in asked for word in ("--view", view)]
    done = mechtui("run", "--model", str(words), "--prompt", PROMPT, *session, *views)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    clean, edited = ([said[run][view] for view in asked] for run in ("clean", "edited"))
    terminal = start(*session)
    terminal.keys("gr")
    terminal.until(r"logit diff .* → \S*\d[\s\S]*Residual L2 norm")
    shown = terminal.text

    def says(pattern: str) -> None:
        assert re.search(pattern, shown), f"{pattern} is not in\n{shown}"

    says(re.escape(f"logit diff {clean[0]['logit_diff']:+.2f} → {edited[0]['logit_diff']:+.2f}"))
    says(re.escape(f"entropy {clean[0]['entropy']:.2f} → {edited[0]['entropy']:.2f} nats"))
    for target in ("answer", "foil"):
        before, after = clean[0][target], edited[0][target]
        logits, ranks = f"{before['logit']:.2f}→{after['logit']:.2f}", f"{before['rank']}→{after['rank']}"
        says(rf"{target} +·\w+ +{re.escape(logits)} +{ranks}")
    rows = {row[1]: row.groups()[1:] for row in re.finditer(r"│([^\s│]+) +(\.\d{3}) \S* +(\.\d{3}) ", shown)}
    checked = 0
    for number, run in enumerate((clean, edited)):
        for each in run[0]["top"]:
            name = each["token"].replace(" ", "·")
            if name in rows:
                assert rows[name][number] == f"{each['prob']:.3f}"[1:], name
                checked += 1
    assert checked >= 4, shown
    last = edited[2]["pattern"][-1]
    says(r"8 ·store +" + r"\s?".join(f"[ ▸]{re.escape(f'{value:.2f}'[1:])}" for value in last))
    norms = [edited[1]["norm"][site][-1] for site in range(3)]
    says(rf"8 ·store +\S+ \* {min(norms):.1f}…{max(norms):.0f} ")


# Where there is room the edit stands in its list; where there is one line for the result, both runs do.
SIZES = {(80, 24): r"\d → \S*\w", (200, 60): r"zero L\dH\d", (60, 18): r"\d → \S*\w"}


def test_other_sizes(start: Start) -> None:
    terminal = start(size=next(iter(SIZES)))
    for size, seen in SIZES.items():
        terminal.resize(*size)
        terminal.until(LIVE)
        assert not re.search(seen, terminal.text)
        terminal.keys("ghz")
        terminal.until(seen)
        terminal.keys("u")
        terminal.until(lambda seen=seen: not re.search(seen, terminal.text))


def test_a_window_that_is_too_small_says_which_size_is_needed(start: Start) -> None:
    terminal = start(size=(60, 15))
    terminal.until("a window of at least 60 columns and 18 rows")
    terminal.keys("q")
    assert terminal.wait() == 0


def test_a_killed_model_process_is_replaced_and_no_keystroke_is_lost(start: Start) -> None:
    terminal = start()
    (first,) = terminal.children()
    os.kill(first, signal.SIGKILL)
    terminal.keys("i and gave")
    terminal.keys("<esc>")
    terminal.until(lambda: terminal.children() not in ([], [first]))
    terminal.until(r"● live")
    terminal.keys("i")
    terminal.until(re.escape(f"{PROMPT} and gave"))


def test_the_last_key_of_a_held_key_is_what_is_shown(start: Start) -> None:
    terminal = start()
    terminal.keys("i ")
    terminal.hold("x", 30)
    terminal.until(r"● live")
    terminal.until(PROMPT + " " + "x" * 30)
    # BOS, eight words, a space and thirty letters, each a token of its own.
    terminal.until(r" 40 ?t")


def test_bytes_that_are_no_utf_8_are_signs_in_the_prompt_and_no_keys_elsewhere(start: Start) -> None:
    terminal = start()
    terminal.chunk(b"\xff\xfe\xc3")
    terminal.settle()
    terminal.keys("i")
    terminal.chunk(b" caf\xe9 na\xc3")
    terminal.until(re.escape("caf� na"))  # a character may come in two parts
    terminal.chunk(b"\xafve\xf0\x9f \x1b[200~ol\xc3\xa9 \xe9\xff!\x1b[201~")
    terminal.settle()
    terminal.until(re.escape("caf� naïve� olé ��!"))
    terminal.keys("<esc>")
    terminal.until(LIVE)
    terminal.keys("q")
    assert terminal.wait() == 0


def test_the_panes_are_on_one_screen_and_quitting_leaves_no_process(start: Start) -> None:
    terminal = start()
    for title in ("Tokens", "Heads", "Attention", "Next token", "Lens", "Edits", "Vectors"):
        assert title.lower() in terminal.text.lower(), f"{title} is not in\n{terminal.text}"
    children = terminal.children()
    assert children
    terminal.keys("q")
    assert terminal.wait() == 0
    wait_for(lambda: all(gone(pid) for pid in children))


@pytest.mark.parametrize("how", ["the terminal is closed", "killed"])
def test_however_it_ends_no_process_is_left(start: Start, how: str) -> None:
    terminal = start()
    children = terminal.children()
    assert children
    if how == "killed":
        os.kill(terminal.pid, signal.SIGKILL)
    else:
        terminal.hang_up()
    terminal.wait()
    wait_for(lambda: all(gone(pid) for pid in children))


BROKEN = """
from mechtui.cli import main
from mechtui.app.doing import DO
DO["theme"] = lambda desk: desk._handle_exception(ZeroDivisionError("a mistake"))
main()
"""


def test_a_mistake_that_ends_the_program_is_told_of_and_gives_the_terminal_back(home: dict[str, str]) -> None:
    terminal = Terminal(("--prompt", PROMPT), (160, 40), home, ("-c", BROKEN))
    try:
        terminal.until("NORMAL")
        terminal.keys("i and gave<enter>")
        terminal.until("NORMAL")
        terminal.keys("T")
        terminal.until("mechtui had to end")
        assert terminal.echoes()
        assert terminal.wait() == 1
        log = Path(home["XDG_STATE_HOME"]) / "mechtui" / "worker.log"
        assert str(log) in terminal.text.replace("\n", "")
        assert "Traceback" not in terminal.text
        assert "a mistake" in log.read_text()
        (kept,) = (log.parent / "sessions").glob("*.toml")
        assert f"{PROMPT} and gave" in kept.read_text()
    finally:
        terminal.close()


def test_keys_that_come_in_one_chunk_act_in_their_order(start: Start) -> None:
    terminal = start()
    terminal.chunk("i abX\x7fc\x1b:zero L1H2\ri!\x1b[D\x7fd\x1b")
    terminal.until("zero L1H2")
    terminal.keys("i")
    terminal.until(re.escape(f"{PROMPT} abd!"))
    terminal.keys("<esc>")
    terminal.chunk("uuuuuuuu")
    terminal.until(ruler(PROMPT) + r"\s+│")
    assert "zero L1H2" not in terminal.text


def test_run_in_a_terminal_says_how_far_it_is_and_leaves_only_the_answer(home: dict[str, str], words: Path) -> None:
    output = Path(home["XDG_STATE_HOME"]) / "out.json"
    output.parent.mkdir(parents=True)
    asked = ("--view", "next_tokens", "--view", "sweep zero L*H*", "--output", str(output))
    terminal = Terminal(("run", "--model", str(words), "--prompt", PROMPT, *asked), environment=home)
    try:
        terminal.until(output.exists)
        while terminal.read(1.0):
            pass
        said = terminal.written.decode()
    finally:
        terminal.close()
    steps = [
        "starting the model process",
        "importing torch",
        "computing sweep zero L*H*",
        "computing sweep zero L*H* 100%",
    ]
    places = [said.index(f"\x1b[K{step}") for step in steps]
    assert places == sorted(places)
    assert terminal.text.strip() == ""
    assert json.loads(output.read_text())["clean"].keys() == {"next_tokens", "sweep zero L*H*"}


def test_what_another_program_wrote_over_the_screen_is_painted_over(start: Start) -> None:
    """On the main screen, over what lies on it, and while one types."""
    terminal = start()
    terminal.until("live")
    for keys in ("", "?", "<esc>M", "<esc>:zero", "<esc>i"):
        terminal.keys(keys)
        seen = terminal.screen.display[1:]
        terminal.screen.erase_in_display(2)
        terminal.screen.draw("Broadcast message from root")
        terminal.chunk("\x0c")  # ctrl+l
        terminal.until(lambda seen=seen: terminal.screen.display[1:] == seen)


def test_a_window_that_is_resized_is_painted_for_its_size(start: Start) -> None:
    terminal = start()
    terminal.until("live")
    wide = terminal.screen.display[-1]
    terminal.resize(60, 20)
    terminal.until(lambda: terminal.screen.display[-1].rstrip().endswith("? help"))
    assert terminal.screen.display[-1].strip() != wide.strip()
    terminal.resize(120, 40)
    terminal.until(lambda: terminal.screen.display[-1] == wide)

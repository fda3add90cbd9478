"""What the program as a whole writes when a session, a tokenizer, a name or a path holds what acts on a terminal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import Typed
from tests.end_to_end.conftest import Program
from tests.folders import gpt2
from tests.hidden import COMMANDS, left_over
from tests.terminal import Terminal

POISON = COMMANDS + "\u202e\u200b\u2028\U000e0041\ue000"
NAME = POISON.replace("/", "").replace("\n", "")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose folder's name, and whose first token, are commands to a terminal."""
    folder = gpt2(tmp_path_factory.mktemp("model") / NAME)
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    words.add_special_tokens({"bos_token": POISON})
    words.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    # The new token's id is past the table of embeddings; the last one there takes its place.
    text = (folder / "tokenizer.json").read_text()
    end = config["bos_token_id"]
    tokens = json.loads(text)
    tokens["added_tokens"] = [each | {"id": end} for each in tokens["added_tokens"] if each["content"] == POISON]
    tokens["model"]["vocab"] = {POISON if id == end else word: id for word, id in tokens["model"]["vocab"].items()}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    return folder


def a_session(folder: Path, model: Path) -> Path:
    path = folder / f"session{NAME[:20]}.toml"
    texts = {"model": str(model), "prompt": f"When{POISON} Mary", "source": f"John{POISON} Mary", "answer": POISON}
    lines = ["mechtui = 1", 'bos = "yes"', *(f"{name} = {toml(text)}" for name, text in texts.items())]
    lines.append(f"edits = [{toml('zero L0H0 @' + json.dumps(' Mary'))}]")
    lines.append('views = ["next_tokens", "tokens", "generate 2"]')
    path.write_text("\n".join(lines), "utf-8")
    return path


def toml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'


def test_the_answers_in_json_hold_it_as_escapes(mechtui: Program, hostile: Path, tmp_path: Path) -> None:
    done = mechtui("run", str(a_session(tmp_path, hostile)), "--output", "-")
    assert done.returncode == 0, done.stderr
    assert not left_over(done.stdout)
    assert not left_over(done.stderr)
    said = json.loads(done.stdout)
    assert said["session"]["prompt"] == f"When{POISON} Mary"
    assert said["tokens"][0]["text"] == POISON
    assert said["model"]["name"] == str(hostile)
    written = tmp_path / "answers.json"
    assert mechtui("run", str(a_session(tmp_path, hostile)), "--output", str(written)).returncode == 0
    assert json.loads(written.read_text("utf-8"))["session"] == said["session"]
    assert not left_over(written.read_text("utf-8"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--model", f"no{POISON}"),
        ("run", "--model", f"/no{POISON}"),
        ("run", f"no{POISON}.toml"),
        ("run", "--model", "demo", "--edit", f"zero L0H0 {POISON}"),
        ("run", "--model", "demo", "--prompt", "a", "--edit", f'zero L0H0 @"{POISON[-4:]}"'),
        ("run", "--model", "demo", "--prompt", "a", "--view", f"next_tokens {POISON}"),
        ("run", "--model", "demo", "--vector", f"{POISON} = token"),
        ("run", "--output", f"no{POISON}/x.json", "--prompt", "a"),
        ("run", "--device", POISON),
        ("run", "--bos", POISON),
        ("run", f"--{POISON}"),
        (POISON,),
        ("--theme", POISON, "--session", f"no{POISON}"),
        ("fetch", POISON),
        ("selftest", POISON),
        ("bench", "--model", POISON),
        ("bench", POISON),
    ],
    ids=lambda arguments: " ".join(arguments[:2]).encode("ascii", "replace").decode()[:20].replace("\x1b", "^"),
)
def test_every_mistake_on_the_command_line_is_told_without_it(
    typed: Typed, home: dict[str, str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    done = typed(*arguments)
    assert done.returncode
    assert done.stderr
    assert not left_over(done.stdout + done.stderr)


def test_what_is_set_and_what_lies_on_this_machine_is_told_without_it(
    mechtui: Program, home: dict[str, str], tmp_path: Path
) -> None:
    hub = tmp_path / "hub"
    snapshot = hub / f"models--{NAME[:30]}" / "snapshots" / "a"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_text("x")
    home |= {"HF_HUB_CACHE": str(hub), "XDG_STATE_HOME": str(tmp_path / NAME[:50])}
    done = mechtui("info")
    assert done.returncode == 0, done.stderr
    assert not left_over(done.stdout + done.stderr)
    config = Path(home["XDG_CONFIG_HOME"]) / "mechtui" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f"theme = {toml(POISON)}\ndevice = {toml(POISON)}\n")
    done = mechtui("info")
    assert not left_over(done.stdout + done.stderr)
    done = mechtui("run")
    assert done.returncode == 2
    assert not left_over(done.stdout + done.stderr)


def test_the_app_the_log_and_what_is_kept_hold_no_command(home: dict[str, str], hostile: Path, tmp_path: Path) -> None:
    terminal = Terminal(("--session", str(a_session(tmp_path, hostile))), environment=home)
    try:
        terminal.until(r"● live")
        for keys in ("8.", "<esc>", "i x<esc>", "M", "<esc>", "?", "<esc>", "y"):
            terminal.keys(keys)
        terminal.keys("a<enter>:zero L9H9<enter><esc>")
        (broken := tmp_path / f"broken{NAME[:20]}").mkdir()
        shutil.copytree(hostile, broken, dirs_exist_ok=True)
        (broken / "tokenizer.json").write_text('{"version": "' + POISON.replace("\x1b", "\\u001b") + '"}')
        terminal.keys("q")
        terminal.wait()
        terminal.settle()
    finally:
        terminal.close()
    assert "\x1b]52;c;UFdORUQ" not in terminal.written.decode()
    assert not left_over(terminal.written.decode(), "\r\n")
    other = Terminal(("run", "--model", str(broken), "--prompt", "a"), environment=home)
    other.wait()
    other.settle()
    assert "mechtui: " in other.text
    assert not left_over(other.written.decode(), "\r\n")
    kept = [path for path in Path(home["XDG_STATE_HOME"]).rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in kept)
    for path in kept:
        assert not left_over(path.read_text("utf-8")), path

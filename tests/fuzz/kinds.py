"""What is read, from good input on: lines, files, frames, folders of models."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from mechtui import config
from mechtui.app.actions import KeyClashError, Registry
from mechtui.app.workspaces import WorkspaceError, with_own
from mechtui.duration import DurationError, seconds
from mechtui.link import frames
from mechtui.link.messages import Answered, Ask, Attach, Heartbeat, Load, Quit, Reply, Request
from mechtui.session import case_templates, cases, journal, text_files
from mechtui.session.cases import CasesError
from mechtui.session.document import Session
from mechtui.session.grammar.cases import format_cases, parse_cases
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.looks import format_focus, format_screen, parse_focus, parse_screen
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.session.history import History
from mechtui.session.rewriting import rewritten
from mechtui.session.storage import StorageError, dumps, load, loads
from mechtui.session.text_files import TextsError
from mechtui.views import example_of, parse_question, specs
from tests.fuzz import mutate
from tests.fuzz.run import Kind

LINES = Path(__file__).parents[2] / "docs" / "lines.md"
EDITS = (
    *("zero L9H9 @-1", "mean L0H1", "resample L1H0.q seed7", "patch L1.pre @10", "freeze L1H1.k @3", "scale L0H0.v x2"),
    *("scale L0.mlp x1.2", "noise embed @3 sd0.2 seed5", "add L0.mid d x2", "project L1.post @-1 t", "cut L1H1 *>0"),
    *("zero L1N3", '# noise embed @" Mary"#2 sd3', "cut L9H9 14>2 raw", 'cut L0H0 *>" John"', "cut-path L5H5>L8H6.q"),
    *("zero L9H9,L10H0-3,L*H* @2-5,7", "patch-path L0H0>L1H1.k", "zero pos", "freeze patterns", "freeze norms"),
    *("clamp res8F1234 @-1 x5", "add res8F0-3 x2", "patch res8F*", "clamp L1N3 x2"),
)
VECTORS = (
    *(
        'd = diff L1.pre "Love" "Hate" | " Mary" " John" unit',
        "n = neuron L0N5",
        't = token " Mary"',
        'c = mean L0.mid "a"',
    ),
    *(
        'p = pca L1.mid " Mary" | " John" 2 @0',
        "f = file vectors.safetensors#name unit",
        'd = diff L6.pre "a.txt" "b.txt"',
    ),
    *('d = diff L6.pre file "a.csv" columns "x" "y" @mean',),
)
CASES = ('"prompts.jsonl"', "prompts.csv", "ioi 64 seed1", 'ioi 64 "mine.toml"', "greater-than")
SCREENS = (
    "Look",
    '"my own" lens heads whole wider -3 with path running sweep at lens:8,0 scores:0,3:2/top/L9H9',
)
FOCUSES = ("L1H2 @-1", "L1H2 @3 key 4 edit 2 vector 1")
SESSION = """# mine
mechtui = 1
model = "gpt2"
prompt = "When Mary and John went"  # words
source = \"\"\"When
Mary\"\"\"
answer = ' Mary'
bos = "auto"
align = "auto"
linear = true
references = ["a", "b"]
vectors = ['love-hate = diff L6.pre "Love" "Hate"']
edits = [
    "zero L9H9 @-1", # off
    "# scale L10H7 x0",
]
views = ["next_tokens", "attention L9H9"]
cases = "ioi 64"
workspace = "Look"
focus = "L1H2 @-1"

[[sweeps]]
prompt = "a"
sweep = "zero L*H*"
metric = "logit_diff"
rows = ["L0", "L1"]
columns = ["H0"]
runs = 2
baseline = 1.5
values = [
    [0.25],
    [nan],
]
"""
CONFIG = """model = "demo"
device = "cpu"
edit = ["zero L0H0"]
mouse = false
keep_alive = "1h30m"
log_file = "~/log"
theme = "dark"

[keys]
zero = "z,ctrl+k"

[workspaces]
Mine = ["heads / scores", "lens", "next_tokens"]
"""
FAMILIES = """[ioi]
about = "who"
words.name = ["Mary", "John", "Ann"]
words.pair = [["a", "b"], ["c", "d"]]

[[ioi.forms]]
prompt = "{name1} and {name2}, {name1} {pair.1}"
answer = " {name2}"
foil = " {name1}"
"""
JSONL = '{"prompt": "Mary and John", "answer": " Mary", "foil": null}\n\n{"source": "é", "prompt": "x"}\n'
CSV = 'prompt,source,answer\n"Mary, and",x, John\na,"b\nc",d\n'


# Lines


@cache
def _spoken() -> tuple[str, ...]:
    """What stands between backticks in the docs of lines."""
    return tuple(dict.fromkeys(re.findall(r"`([^`\n]+)`", LINES.read_text(encoding="utf-8"))))


def _goes_round(parse: Callable[[str], Any], form: Callable[[Any], str], line: str) -> None:
    read = parse(line)
    said = form(read)
    assert parse(said) == read, f"{line!r} is written as {said!r}"


def _line(name: str, seeds: tuple[str, ...], parse: Callable[[str], Any], form: Callable[[Any], str] | None) -> Kind:
    take = partial(_goes_round, parse, form) if form is not None else parse
    return Kind(name, lambda dice: mutate.text(dice, dice.choice((seeds, seeds, seeds, _spoken()))), take, (LineError,))


def _questions() -> tuple[str, ...]:
    return tuple(example_of(name).question.line() for name in specs())


# Texts of files, and the files


def _text(name: str, seed: str, take: Callable[[str], object], *refusals: type[BaseException]) -> Kind:
    return Kind(name, lambda dice: mutate.text(dice, (seed,)), take, refusals, 0.1)


def _file(name: str, seed: str, take: Callable[[Path], object], *refusals: type[BaseException]) -> Kind:
    """Of bytes, which may be no text."""

    def read(held: bytes) -> None:
        path = _room() / name
        path.write_bytes(held)
        take(path)

    return Kind(name, lambda dice: mutate.data(dice, seed.encode()), read, refusals, 0.1)


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="mechtui-fuzz-")


def _room() -> Path:
    return Path(_folder().name)


def _session(text: str) -> None:
    session = loads(text, question=parse_question)
    assert loads(dumps(session)) == session
    assert loads(rewritten(session, text)) == session
    another = Session(prompt="another")
    assert loads(rewritten(another, text)) == another


def _config(path: Path) -> None:
    chosen = config.settings({}, {}, path)
    Registry(chosen.keys)
    with_own(chosen.workspaces)


def _history(text: str) -> None:
    tree = journal.read(text)
    if tree is not None:
        assert journal.read(journal.written(None, tree)) is not None


@cache
def _written() -> str:
    history = History(Session(prompt="a"))
    for words in ("a b", "a b c", "d"):
        history.change(Session(prompt=words, edits=(parse_edit("zero L0H0"),), linear=words == "d"))
    history.undo()
    history.mark("before")
    history.change(Session(vectors=(parse_vector(VECTORS[0]),)))
    return journal.written(None, history.tree)


def _texts(path: Path) -> None:
    text_files.sides_of(parse_vector(f'v = mean L0.pre file "{path}"'))


# Frames


@cache
def _frames() -> tuple[bytes, ...]:
    session = Session(prompt="a", edits=(parse_edit("zero L0H0"),), vectors=(parse_vector(VECTORS[0]),))
    made: list[Request | Reply] = [
        Load("demo"),
        Attach("build", Load("demo"), 60.0, "/"),
        Quit(),
        Heartbeat(1, 2, True),
    ]
    for name in specs():
        example = example_of(name)
        made.append(Ask(1, session, (example.question,)))
        made.append(Answered(1, example.question, example.clean, example.edited, 1.0))
    return tuple(frames.encode(each)[frames.HEADER.size :] for each in made)


def _frame(body: bytes) -> None:
    for decode in (frames.decode_request, frames.decode_reply):
        try:
            decode(body)
        except frames.BrokenFrameError:
            continue


def _stream(body: bytes) -> None:
    splitter = frames.Splitter()
    for at in range(0, len(body), 997):
        for each in splitter.feed(body[at : at + 997]):
            _frame(each)


# Dictionaries of features


@cache
def _dictionaries() -> tuple[dict[str, bytes], ...]:
    """The files of one of each format."""
    from tests import dictionaries as made

    room, width = _room() / "dictionaries", 8
    made.saelens(room / "a", width)
    made.learned(room / "b", width, "AutoEncoderTopK", k=3)
    made.gemma(room / "c", width)
    made.sparsified(room / "d", width, k=3)
    return tuple(
        {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in sorted(room.iterdir())
    )


def _dictionary(dice: Random) -> dict[str, bytes]:
    files = dict(dice.choice(_dictionaries()))
    name = dice.choice(sorted(files))
    if name.endswith(".json") and dice.random() < 0.8:
        files[name] = mutate.document(dice, json.loads(files[name]))
    elif dice.random() < 0.05:
        del files[name]
    else:
        files[name] = mutate.data(dice, files[name])
    return files


def _put_dictionary(files: dict[str, bytes]) -> None:
    import torch

    from mechtui.engine.dictionaries.kept import read
    from mechtui.session.document import Sae

    folder = _room() / "dictionary"
    shutil.rmtree(folder, ignore_errors=True)
    for name, held in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(held)
    weights = next((each for each in files if each.endswith(".npz")), None)
    found = read(Sae("a", str(folder / weights) if weights else str(folder)))
    x = torch.ones(1, found.d_in)
    found.decode(found.encode(x), x)


# Models


def _loaded(folder: Path, directly: bool = False) -> None:
    """Load what is there, as the model process does first (directly) or with the libraries, and run it."""
    from mechtui.engine.api import Engine
    from mechtui.worker.models.load import load as load_model

    model = load_model(Load(str(folder), device="cpu"), lambda *_: None, lambda: False, directly)
    opened = Engine(model).open(Session(prompt="When Mary went to the store"))
    assert isinstance(np.asarray(opened.clean.logits()), np.ndarray)


@cache
def _models() -> dict[str, dict[str, bytes]]:
    """By architecture, the files of a tiny one."""
    from tests import folders

    found = {}
    for name, make in (("gpt2", folders.gpt2), ("llama", folders.llama), ("own", folders.attention_only)):
        folder = _room() / "seeds" / name
        folder.mkdir(parents=True)
        make(folder)
        found[name] = {file.name: file.read_bytes() for file in folder.iterdir()}
    return found


def _put(files: dict[str, bytes], directly: bool = False) -> None:
    folder = _room() / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, held in files.items():
        (folder / name).write_bytes(held)
    _loaded(folder, directly)


def _all() -> None:
    for directly in (False, True):
        for files in _models().values():
            _put(files, directly)


def _model(dice: Random) -> dict[str, bytes]:
    files = dict(dice.choice(list(_models().values())))
    match dice.choice(("config", "config", "header", "header", "bytes", "index", "tokenizer", "gone")):
        case "config":
            files["config.json"] = mutate.document(dice, json.loads(files["config.json"]))
        case "header":
            held = files["model.safetensors"]
            length = int.from_bytes(held[:8], "little")
            header = mutate.document(dice, json.loads(held[8 : 8 + length]))
            said = dice.choice((len(header), len(header), len(header), length, 2**62))
            files["model.safetensors"] = said.to_bytes(8, "little") + header + held[8 + length :]
        case "bytes":
            name = dice.choice(sorted(files))
            files[name] = mutate.data(dice, files[name])
        case "index":
            files["part.safetensors"] = files.pop("model.safetensors")
            index = {"metadata": {"total_size": 1}, "weight_map": {"a": "part.safetensors", "b": "part.safetensors"}}
            if dice.random() < 0.3:
                index["weight_map"] = {
                    "a": dice.choice(("../part.safetensors", "/etc/passwd", "..", ".", "", "a/../b"))
                }
            files["model.safetensors.index.json"] = mutate.document(dice, index)
        case "tokenizer":
            name = dice.choice([name for name in sorted(files) if "token" in name])
            files[name] = mutate.document(dice, json.loads(files[name]))
        case "gone":
            del files[dice.choice(sorted(files))]
    return files


@cache
def _gguf() -> bytes:
    from tests import folders

    return folders.gguf(_room() / "seed.gguf").read_bytes()


def _tokenizer(dice: Random) -> dict[str, bytes]:
    files = dict(dice.choice(list(_models().values())))
    name = dice.choice([name for name in sorted(files) if "token" in name])
    files[name] = mutate.document(dice, json.loads(files[name]))
    return files


def _of_gguf(dice: Random) -> bytes:
    return mutate.data(dice, _gguf())


def _put_gguf(held: bytes) -> None:
    path = _room() / "model.gguf"
    path.write_bytes(held)
    with patch.dict(os.environ, XDG_CACHE_HOME=str(_room())):
        _loaded(path)


def _kinds() -> Iterator[Kind]:
    yield _line("edit", EDITS, parse_edit, format_edit)
    yield _line("vector", VECTORS, parse_vector, format_vector)
    yield _line("question", _questions(), parse_question, lambda question: question.line())
    yield _line("cases-line", CASES, parse_cases, format_cases)
    yield _line("screen", SCREENS, parse_screen, format_screen)
    yield _line("focus", FOCUSES, parse_focus, format_focus)
    yield Kind("duration", lambda dice: mutate.text(dice, ("1h30m", "45s", "2d", "off")), seconds, (DurationError,))
    yield _text("session", SESSION, _session, StorageError, LineError)
    yield _file("session.toml", SESSION, load, StorageError, LineError)
    yield _file("config.toml", CONFIG, _config, config.ConfigError, KeyClashError, WorkspaceError)
    yield _text("templates", FAMILIES, lambda text: case_templates.parse(text, "mine.toml"), CasesError)
    yield _file("cases.jsonl", JSONL, lambda path: cases.load(str(path)), CasesError)
    yield _file("cases.csv", CSV, lambda path: cases.load(str(path)), CasesError)
    yield _file("texts.txt", "Love\nHate\n\n", _texts, TextsError)
    yield _text("history", _written(), _history)
    yield Kind("frame", lambda dice: mutate.data(dice, dice.choice(_frames())), _frame)
    yield Kind(
        "stream",
        lambda dice: mutate.data(dice, b"".join(len(each).to_bytes(4, "big") + each for each in _frames()[:6])),
        _stream,
        (frames.BrokenFrameError,),
        0.1,
    )


def _of_models() -> Iterator[Kind]:
    """Those that need torch."""
    from mechtui.engine.api import SessionError
    from mechtui.engine.dictionaries import DictionaryError
    from mechtui.engine.errors import ModelError

    said = (ModelError, SessionError)
    for name, directly in (("model", False), ("model-direct", True)):
        put = partial(_put, directly=directly)
        yield Kind(name, _model, put, said, 0.01, _all)
        yield Kind(name.replace("model", "tokenizer"), _tokenizer, put, said, 0.01, _all)
    yield Kind("dictionary", _dictionary, _put_dictionary, (DictionaryError,), 0.01, _dictionaries)
    yield Kind("gguf", _of_gguf, _put_gguf, said, 0.01, lambda: _put_gguf(_gguf()))


@cache
def kinds(models: bool = True) -> dict[str, Kind]:
    """By name."""
    return {kind.name: kind for kind in (*_kinds(), *(_of_models() if models else ()))}

"""Settings: from the command line, from MECHTUI_* variables, from the config file, in this order of weight."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from mechtui.session.grammar.words import one_line, short

PREFIX = "MECHTUI_"
# Bytes of a config file.
MOST_BYTES = 1 << 20
YES, NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")
DEVICES = ("auto", "cpu", "cuda", "mps")

Bos = Literal["auto", "yes", "no"]
Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Signs = Literal["auto", "unicode", "ascii"]


class ConfigError(ValueError):
    """Settings that mean nothing: one sentence that says what, where, and what would be right."""


class Settings(msgspec.Struct, frozen=True):
    """Everything that can be set. Empty text means "not said".

    model, prompt, source, answer, foil, bos, align, cases, linear, edit, vector, sae, references (lines of text) begin
    a session; a session file overrules them, a flag overrules the session file. device: auto, cpu, cuda, cuda:N or mps.
    device_map: "" or "auto" (several GPUs). signs: which ones the terminal has; auto: as its name and the locale say.
    log_file: where the model process's stderr goes, "" for the state folder. views: folders of views of one's own,
    apart as in PATH. keys: action name -> keys, comma-separated. workspaces: name -> columns, as
    `mechtui.app.workspaces` reads them. keep_alive: how long the model process stays when the app goes, as
    `mechtui.duration` reads it; not said: a new one goes with it, one that was found stays on.
    """

    model: str = ""
    prompt: str = ""
    source: str = ""
    answer: str = ""
    foil: str = ""
    edit: tuple[str, ...] = ()
    vector: tuple[str, ...] = ()
    sae: tuple[str, ...] = ()
    align: str = "auto"
    references: tuple[str, ...] = ()
    cases: str = ""
    linear: bool = False
    device: str = "auto"
    dtype: Dtype = "auto"
    device_map: Literal["", "auto"] = ""
    bos: Bos = "auto"
    fold_ln: bool = False
    trust_remote_code: bool = False
    theme: str = ""
    signs: Signs = "auto"
    mouse: bool = True
    log_file: str = ""
    keep_alive: str = ""
    views: str = ""
    keys: dict[str, str] = {}
    workspaces: dict[str, tuple[str, ...]] = {}


NAMES: tuple[str, ...] = tuple(field for field in Settings.__struct_fields__)
# What each of them means, as docs/settings.md says it; links are seen from there.
MEANINGS = {
    "model": (
        "a Hugging Face id (`@revision` behind it), a folder, a `.gguf` file, or a name of `mechtui info`; without it "
        "`gpt2` where it lies in the Hugging Face cache, else `demo`"
    ),
    "prompt": "what the model reads",
    "source": "the second prompt, that patching takes its values from",
    "answer": "the token that is explained, with its blank: `' Mary'`",
    "foil": "the token that it is compared with",
    "edit": "[edits](lines.md#edits-op-site-positions-argument)",
    "vector": "[steering vectors](lines.md#steering-vectors-name--source-unit-position)",
    "sae": "[dictionaries of features](lines.md#dictionaries-of-features-name--path-at-l8post-labels-file)",
    "align": "how the source's tokens are paired with the prompt's ([how](lines.md#alignment-of-prompt-and-source))",
    "references": "prompts that `mean` averages over",
    "cases": "many prompts over which numbers are taken, too: `ioi 64`, or a file, see [cases](lines.md#cases)",
    "linear": "[linear mode](lines.md#linear-mode): effects of edits add up",
    "device": "where the model runs; `auto`: CUDA where there is some, else MPS, else the CPU",
    "dtype": "what the model computes in; `auto` is float32: half precision is used only when it is asked for",
    "device_map": "`auto` spreads the model over several GPUs",
    "bos": (
        "whether the model's first token (BOS) stands before the prompt; `auto`: of GPT-2's kind it does, as in "
        "TransformerLens, of others where their tokenizer puts it there"
    ),
    "fold_ln": (
        "fold the weights of the norms into what reads them; refused where TransformerLens then computes other logits"
    ),
    "trust_remote_code": "run code that comes with a hub model",
    "theme": "colours, see [themes](terminals.md#themes); a name that is none is refused with those there are",
    "signs": "what the terminal can show; `auto`: as its name and the locale say, see [signs](terminals.md#signs)",
    "mouse": "take the mouse, or leave it to the terminal",
    "log_file": "where the model process writes its log; without it `worker.log` in the state folder",
    "keep_alive": (
        "how long the model stays in memory when the app goes: `45s`, `30m`, `1h30m`, `2d` (at most `30d`); `off`: not "
        "at all. Without it a new model goes with the app, and one that was found stays as it was to, see [ssh](ssh.md)"
    ),
    "views": (
        "folders of [views of your own](dev/add-a-view.md), apart as in `PATH`; their code runs in both processes"
    ),
    "keys": 'action name = keys, as in `undo = "u,ctrl+z"`; the names are in [keys](keys.md)',
    "workspaces": "name = columns, from left to right, see [workspaces](configuration.md#workspaces-of-your-own)",
}
_TYPES = get_type_hints(Settings)
# Tables, which only the config file can have.
TABLES = ("keys", "workspaces")


def nearest(word: str, names: tuple[str, ...], cutoff: float = 0.5) -> str:
    """The name most like the word; empty when none is."""
    found = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return found[0] if found else ""


def log_file(settings: Settings) -> Path | None:
    """Where the log goes; None: to the state folder."""
    return Path(settings.log_file).expanduser() if settings.log_file else None


def settings(
    flags: Mapping[str, object], variables: Mapping[str, str] | None = None, file: Path | None = None
) -> Settings:
    """The settings that hold: `flags` (only those given), else variables, else the config file, else the
    defaults. variables: default the environment. file: default the user's config file. Raises ConfigError."""
    if file is None:
        from mechtui.session.paths import config_file

        file = config_file()
    said = read_file(file) | read_variables(os.environ if variables is None else variables) | dict(flags)
    return _settings(said, "the command line")


def read_file(path: Path) -> dict[str, object]:
    """What the config file says; nothing when there is none. Raises ConfigError."""
    from mechtui.session.paths import PathError, read_text
    from mechtui.session.toml import TomlError, parsed

    if not os.path.lexists(path):
        return {}
    try:
        said: dict[str, object] = parsed(read_text(str(path), MOST_BYTES))
    except PathError as error:
        raise ConfigError(str(error)) from error
    except TomlError as error:
        raise ConfigError(f"{path} {error}") from error
    for key in said:
        if key not in NAMES:
            near = nearest(key, NAMES)
            hint = f"; did you mean {near}?" if near else f"; there are {', '.join(NAMES)}"
            raise ConfigError(f"{path}: {one_line(short(key))} is no setting{hint}")
    _settings(said, str(path))
    return said


def read_variables(variables: Mapping[str, str]) -> dict[str, object]:
    """What the MECHTUI_* variables say. Several edits or vectors: one per line. Empty: not said.
    Raises ConfigError for a value of the wrong kind and for a name that is nearly one of ours."""
    said: dict[str, object] = {}
    names = tuple(name for name in NAMES if name not in TABLES)
    for variable, text in variables.items():
        if not variable.startswith(PREFIX) or not text:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in names:
            near = nearest(name, names, cutoff=0.8)
            if near:
                raise ConfigError(f"{variable} is no variable of mechtui; did you mean {PREFIX}{near.upper()}?")
            continue
        said[name] = _from_text(variable, name, text)
    _settings(said, "the environment")
    return said


def _from_text(variable: str, name: str, text: str) -> object:
    kind = _TYPES[name]
    if kind is bool:
        if text.lower() not in (*YES, *NO):
            raise ConfigError(f"{variable}={text} should be yes or no")
        return text.lower() in YES
    if kind == tuple[str, ...]:
        return [line for line in text.splitlines() if line.strip()]
    return text


def _settings(said: Mapping[str, Any], where: str) -> Settings:
    for name, value in said.items():
        kind = _TYPES[name]
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            wanted = f"one of {', '.join(map(repr, choices))}" if choices else ""
            problem = f"should be {wanted}" if wanted else f"is not right: {error}"
            raise ConfigError(f"{where}: {name} = {short(repr(value))} {problem}") from error
    device = str(said.get("device", "auto"))
    if device not in DEVICES and not (device.startswith("cuda:") and device[5:].isdigit()):
        raise ConfigError(f"{where}: device = {short(repr(device))} should be auto, cpu, cuda, cuda:N or mps")
    if "keep_alive" in said:
        from mechtui.duration import DurationError, seconds

        try:
            seconds(str(said["keep_alive"]))
        except DurationError as error:
            raise ConfigError(f"{where}: keep_alive = {short(repr(said['keep_alive']))} {error}") from error
    if log := str(said.get("log_file", "")):
        from mechtui.session.paths import PathError, expanded

        try:
            expanded(log)
        except PathError as error:
            raise ConfigError(f"{where}: log_file: {error}") from error
    return msgspec.convert(dict(said), Settings)

"""What the shell completes, asked as bash asks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mechtui.panes.theme import names

HEAVY = ("torch", "transformers", "transformer_lens", "numpy")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a model in the cache, one without weights, a folder, files; and where one stands."""
    cache = tmp_path / "hub"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    for name, weights in (("models--gpt2", "model.safetensors"), ("models--o--tiny", "pytorch_model.bin")):
        (cache / name / "snapshots" / "1").mkdir(parents=True)
        (cache / name / "snapshots" / "1" / weights).touch()
    (cache / "models--o--tokenizer-only" / "snapshots" / "1").mkdir(parents=True)
    (cache / "datasets--o--data").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").touch()
    (tmp_path / "some.gguf").touch()
    for file in ("one.toml", "other.toml", "text.txt"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(*words: str, shell: str = "bash") -> list[str]:
    """What is offered for the last of the words, as `type,value`."""
    line = {"COMP_WORDS": " ".join(("mechtui", *words)), "COMP_CWORD": str(len(words))}
    code = (
        "import sys; sys.argv = ['mechtui']\n"
        "from mechtui.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\nassert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **line, "_MECHTUI_COMPLETE": f"{shell}_complete"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_models_of_every_kind(home: Path) -> None:
    offered = asked("--model", "")
    for name in ("demo", "attn-only-2l", "gpt2", "o/tiny", "mine", "some.gguf"):
        assert f"plain,{name}" in offered
    assert not [each for each in offered if "tokenizer" in each or "data" in each or ".txt" in each]
    assert asked("run", "--model", "g") == ["plain,gpt2"]
    assert asked("fetch", "o/") == ["plain,o/tiny"]
    assert asked("selftest", "~/mi") == ["plain,~/mine"]
    assert asked("--model", f"{home}/so") == [f"plain,{home}/some.gguf"]
    assert asked("--model", "nothing-like-it") == ["file,nothing-like-it"], "the shell's own files"


def test_session_files_commands_options_and_themes(home: Path) -> None:
    assert asked("--session", "o") == ["plain,one.toml", "plain,other.toml"]
    assert asked("run", "~/on") == ["plain,~/one.toml"]
    assert asked("run", "nowhere/x") == ["file,nowhere/x"]
    assert asked("com") == ["plain,completion"]
    assert "plain,--output" in asked("run", "--o")
    assert asked("--dtype", "b") == ["plain,bfloat16"]
    assert asked("--device", "c") == ["plain,cpu", "plain,cuda"]
    assert asked("--theme", "") == [f"plain,{name}" for name in names()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_after_evaluating_what_the_command_prints(home: Path) -> None:
    program = home / "mechtui"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mechtui "$@"\n')
    program.chmod(0o755)
    lines = (
        'eval "$(mechtui completion bash)"; complete -p mechtui; '
        "COMP_WORDS=(mechtui run --model gp); COMP_CWORD=3; _mechtui_completion mechtui; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", lines],
        env={**os.environ, "PATH": f"{home}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-2:] == ["complete -o nosort -F _mechtui_completion mechtui", "gpt2"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_lines(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mechtui", "completion", shell], capture_output=True, text=True, check=True
    )
    assert f"_MECHTUI_COMPLETE={shell}_complete" in done.stdout

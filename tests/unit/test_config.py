"""Settings: flags, variables, file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtui.config import ConfigError, Settings, settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('model = "from-file"\ndtype = "float16"\ntheme = "file"\nmouse = false\n[keys]\nquit = "ctrl+q"\n')
    return path


def test_flags_beat_variables_beat_the_file(file: Path) -> None:
    said = settings({"model": "flag"}, {"MECHTUI_MODEL": "variable", "MECHTUI_THEME": "variable"}, file)
    assert said.model == "flag"
    assert said.theme == "variable"
    assert said.dtype == "float16"
    assert said.mouse is False
    assert said.keys == {"quit": "ctrl+q"}
    assert said.device == "auto"


def test_nothing_said_is_the_defaults(tmp_path: Path) -> None:
    assert settings({}, {}, tmp_path / "none.toml") == Settings()


def test_variables_of_every_kind(tmp_path: Path) -> None:
    variables = {
        "MECHTUI_EDIT": "zero L0H0\nzero L0H1\n",
        "MECHTUI_MOUSE": "no",
        "MECHTUI_FOLD_LN": "1",
        "MECHTUI_DEVICE": "cuda:1",
        "MECHTUI_PROMPT": "",
        "HOME": "/",
    }
    said = settings({}, variables, tmp_path / "none.toml")
    assert said == Settings(edit=("zero L0H0", "zero L0H1"), mouse=False, fold_ln=True, device="cuda:1")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('modell = "a"', ": modell is no setting; did you mean model?"),
        ('dtype = "float8"', ": dtype = 'float8' should be one of 'auto', 'float32', 'float16', 'bfloat16'"),
        ('device = "gpu"', ": device = 'gpu' should be auto, cpu, cuda, cuda:N or mps"),
        ('mouse = "no"', ": mouse = 'no' is not right: Expected `bool`, got `str`"),
        ("[keys]\nquit = 3", ": keys = {'quit': 3} is not right"),
        ("[workspaces]\nMine = 3", ": workspaces = {'Mine': 3} is not right"),
        ("model = ", " is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, toml: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        settings({}, {}, path)
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MECHTUI_MODLE", "a", "MECHTUI_MODLE is no variable of mechtui; did you mean MECHTUI_MODEL?"),
        ("MECHTUI_MOUSE", "maybe", "MECHTUI_MOUSE=maybe should be yes or no"),
        ("MECHTUI_BOS", "maybe", "the environment: bos = 'maybe' should be one of 'auto', 'yes', 'no'"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(tmp_path: Path, variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings({}, {variable: value}, tmp_path / "none.toml")
    assert str(caught.value) == message

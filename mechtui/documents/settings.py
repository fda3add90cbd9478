"""docs/settings.md: every setting with its flag, variable, values and default, from `mechtui.config`."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from mechtui.cli import cli
from mechtui.config import DEVICES, MEANINGS, NAMES, PREFIX, TABLES, Settings

HEAD = """# Settings

Written by the program from its own settings: `python -m mechtui.documents.settings`. A flag beats a session file, which
beats a variable, which beats the config file; [configuration](configuration.md) says more, and where the files are.

## Flags, variables and keys of the config file

Of a variable that takes several, each stands on a line of its own. `yes`, `true`, `on` and `1` are yes; `no`, `false`,
`off` and `0` are no. An empty variable says nothing.

| flag, variable | config file | meaning |
|---|---|---|
"""
FLAGS = """
## Flags alone

| flag | meaning |
|---|---|
"""


def document() -> str:
    """The page as Markdown."""
    options = {option.name: option for option in cli.params if isinstance(option, click.Option)}
    # The order in which --help has them, then what has no flag.
    names = [name for name in options if name in NAMES]
    names += [name for name in NAMES if name not in options]
    rows = "".join(f"{_row(name, options.get(name))}\n" for name in names)
    # --session and --new, and those of click.
    others = [option for name, option in options.items() if name not in NAMES]
    flags = "".join(f"| {_flags(option)} | {_sentence(option)} |\n" for option in others)
    return HEAD + rows + FLAGS + flags


def _row(name: str, option: click.Option | None) -> str:
    ways = [_flags(option)] if option else []
    ways += [f"`{PREFIX}{name.upper()}`"] if name not in TABLES else []
    key = f"`[{name}]`" if name in TABLES else f"`{name} = {_example(name)}`"
    meaning = MEANINGS[name].replace("|", "\\|")
    return f"| {'<br>'.join(ways)} | {key} | {meaning}{_values(name)} |"


def _values(name: str) -> str:
    """The values that there are, the default first; or the default alone where it says something."""
    kind, default = get_type_hints(Settings)[name], _default(name)
    choices: tuple[str, ...]
    if name == "device":
        choices = (*DEVICES, "cuda:N")
    elif get_origin(kind) is Literal:
        choices = tuple(str(choice) for choice in get_args(kind) if choice)
    elif kind is bool:
        return f". Default: {'yes' if default else 'no'}"
    else:
        return f". Default: `{default}`" if default else ""
    ordered = sorted(choices, key=lambda choice: choice != default)
    return f". One of {', '.join(f'`{choice}`' for choice in ordered)}" if len(ordered) > 1 else ""


def _default(name: str) -> Any:
    return getattr(Settings(), name)


def _example(name: str) -> str:
    """How its value looks in TOML."""
    kind = get_type_hints(Settings)[name]
    if kind is bool:
        return "true" if not _default(name) else "false"
    return '["..."]' if kind == tuple[str, ...] else '"..."'


def _flags(option: click.Option) -> str:
    """`--linear`, `--no-linear`; `--edit LINE` (repeatable)."""
    value = "" if option.is_flag else f" {option.metavar or '|'.join(getattr(option.type, 'choices', ()))}"
    shown = [f"`{opt}{value}`".replace("|", "\\|") for opt in (*option.opts, *option.secondary_opts)]
    return ", ".join(shown) + (" (repeatable)" if option.multiple else "")


def _sentence(option: click.Option) -> str:
    return (option.help or "").replace("|", "\\|")


if __name__ == "__main__":
    print(document(), end="")

"""docs/commands.md: what every command's `--help` says."""

from __future__ import annotations

from collections.abc import Iterator

import click

from mechtui.cli import cli

WIDTH = 100
HEAD = """# Commands

What each command's `--help` says, written by the program: `python -m mechtui.documents.commands`. The lines that
`--edit`, `--vector`, `--view` and `--with-cases` take are in [lines](lines.md), and what `mechtui run` prints, too.
"""


def document() -> str:
    """The page as Markdown."""
    return HEAD + "".join(
        f"\n## {name}\n\n```text\n{_help(command, name)}\n```\n" for name, command in _commands(cli, "mechtui")
    )


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and those within it, with the words by which one calls them; not those that mechtui starts itself."""
    yield name, command
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            if not command.commands[inner].hidden:
                yield from _commands(command.commands[inner], f"{name} {inner}")


def _help(command: click.Command, name: str) -> str:
    context = click.Context(
        command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=["-h", "--help"]
    )
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


if __name__ == "__main__":
    print(document(), end="")

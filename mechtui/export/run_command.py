"""The `mechtui run` command that asks a session's questions again, quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from mechtui.config import Settings
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.saes import format_sae
from mechtui.session.grammar.vectors import format_vector
from mechtui.visible import harmless

PLAIN = ("model", "prompt", "source", "answer", "foil")


def run_command(session: Session, views: Iterable[str], settings: Settings) -> str:
    """One command, in which nothing is hidden: bash and zsh, which know `$'\\033'`, run it. views: the question lines.
    settings: those that decide the numbers are named where they are no default."""
    said = " ".join(map(_word, arguments(session, views, settings)))
    # A prompt that is a hyphen would be one from the standard input.
    return f"echo - | {said}" if session.prompt == "-" else said


def arguments(session: Session, views: Iterable[str], settings: Settings) -> list[str]:
    """The same, word by word."""
    words = ["mechtui", "run"]
    for name in PLAIN:
        if value := getattr(session, name):
            words += [f"--{name}", value]
    if session.bos != "auto":
        words += ["--bos", session.bos]
    if session.align != "auto":
        words += ["--align", session.align]
    if session.cases:
        words += ["--with-cases", session.cases]
    if session.linear:
        words.append("--linear")
    many = (
        ("--reference", session.references),
        ("--vector", map(format_vector, session.vectors)),
        ("--sae", map(format_sae, session.saes)),
        ("--edit", map(format_edit, session.edits)),
        ("--view", views),
    )
    for option, values in many:
        for value in values:
            words += [option, value]
    for name in ("device", "dtype"):
        if (value := getattr(settings, name)) != "auto":
            words += [f"--{name}", value]
    if settings.device_map:
        words += ["--device-map", settings.device_map]
    if settings.fold_ln:
        words.append("--fold-ln")
    if settings.trust_remote_code:
        words.append("--trust-remote-code")
    return words


def _word(text: str) -> str:
    """A word for a shell; one with something hidden has its bytes in octal. A newline ends a line of the command."""
    if harmless(text.replace("\n", "")):
        return shlex.quote(text)
    return "$'" + "".join(map(_char, text)) + "'"


def _char(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    return char if harmless(char) else "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogatepass"))

"""What ends a run or a load: a newer wish, or something that is wrong with the session or the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Something newer is wanted."""


class Unread(Exception):  # noqa: N818 - nothing went wrong
    """An edit that is asked for takes its vector from texts of files, which are read when all else is answered."""


class SessionError(ValueError):
    """Nothing of this session can be run: one sentence that says why and what to do. lacks: what of the session is not
    there, as in "an answer and a foil"; empty where something else is wrong."""

    def __init__(self, sentence: str, lacks: str = "") -> None:
        super().__init__(sentence)
        self.lacks = lacks


class TextError(ValueError):
    """A text that the model cannot read: the end of a sentence that begins with the text."""


class ModelError(Exception):
    """A model that cannot be had: one sentence that says what is wrong and what to do."""


@contextmanager
def told(problem: str, advice: str = "") -> Iterator[None]:
    """Within, a library reads what the user gave it: whatever it raises becomes `problem (its reason): advice`.

    Raises ModelError.
    """
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:
        # A panic in the tokenizers library is no Exception, and its class cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = f" ({first_line(error)})" if first_line(error) else ""
        raise ModelError(f"{problem}{reason}{': ' * bool(advice)}{advice}") from error


def first_line(error: BaseException) -> str:
    """What an error says, on one line; empty where it says nothing."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {shown(str(error.filename))}" if error.filename else error.strerror
    said = error.args[0] if isinstance(error, KeyError) and error.args else error
    return shown(next(iter(str(said).strip().splitlines()), "").rstrip(".:"), 300)


def shown(text: str, most: int = 80) -> str:
    """A name or a reason, as long as a sentence can hold."""
    return text if len(text) <= most else f"{text[: most - 3]}..."

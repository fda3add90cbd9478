"""What can be wrong with a model, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

# (stage, fraction 0..1 or None, detail)
Progress = Callable[[str, float | None, str], None]


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


def some(names: Iterable[str], most: int = 3) -> str:
    """The first names, and that there are more."""
    names = list(names)
    return ", ".join(islice(names, most)) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def megabytes(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"

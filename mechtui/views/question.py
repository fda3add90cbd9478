"""What all questions and answers have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

import msgspec
import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Session, Swept
from mechtui.session.grammar.words import LineError, short

# Which run a pane shows where an edit is on: the edited one, the clean one, or edited minus clean.
Run = Literal["edited", "clean", "difference"]
RUNS: tuple[Run, ...] = get_args(Run)
# Fields with these names follow what the screen looks at.
FOLLOWING = ("layer", "head", "position")


Value = TypeVar("Value")


def after(value: Value, values: Sequence[Value]) -> Value:
    """The one that follows in turn: behind the last, and behind one that is not among them, comes the first."""
    return values[(values.index(value) + 1) % len(values)] if value in values else values[0]


class Question(msgspec.Struct, frozen=True, tag_field="view"):
    """One question about a run, and with it what a pane shows: the line is the pane's state.

    Equal questions have equal answers for equal sessions. Every field has a default. SHOWN: the fields that say only
    how the answer is shown; the model process is asked with their defaults. OF_MODEL: those that name heads or words of
    one model; on another they have their defaults. A field `run: Run` says which run is shown.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset()
    OF_MODEL: ClassVar[frozenset[str]] = frozenset()

    @property
    def costly(self) -> bool:
        """Whether the answer costs many runs, so that it is computed only once the user has started it."""
        return False

    @property
    def many_runs(self) -> bool:
        """Whether the answer costs many runs and is computed all the same, behind all else that is on the screen,
        although the view's other questions cost few."""
        return False

    @property
    def from_end(self) -> bool:
        """Whether its position is counted from the end, since it is asked of texts of several lengths."""
        return False

    @property
    def reads(self) -> tuple[str, ...]:
        """Files whose contents decide the answer."""
        return ()

    @property
    def saes(self) -> tuple[str, ...]:
        """What the session calls the dictionaries of features that the line names; empty for its first."""
        return ()

    def asked(self) -> Self:
        """What the model process is asked."""
        return self._with_defaults(self.SHOWN) if self.SHOWN else self

    def unfocused(self) -> Self:
        """The same whatever the screen looks at."""
        return self._with_defaults(FOLLOWING)

    def for_model(self) -> Self:
        """The same on another model."""
        return self._with_defaults(self.OF_MODEL) if self.OF_MODEL else self

    def _with_defaults(self, names: Collection[str]) -> Self:
        fields = zip(self.__struct_fields__, self.__struct_defaults__, strict=True)
        return replace(self, **{name: default for name, default in fields if name in names})

    def next(self) -> Self:
        """The next thing that its pane can show: another summary, scale or order."""
        return self

    def remembered(self, session: Session, clean: bool) -> Answer | None:
        """The whole answer as the sweeps that the session keeps have it, of the session as it is; None where they have
        none. clean: the clean run's."""
        return None

    def next_run(self) -> Self:
        """The same of the next run: edited, clean, edited minus clean."""
        run: Run | None = getattr(self, "run", None)
        return self if run is None else replace(self, run=after(run, RUNS))

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        """The struct for `line`, whose words after the name are `rest`. Raises LineError."""
        if rest:
            raise LineError(line, line.index(rest), f"nothing more is expected here, but {short(rest)} stands here")
        return cls()

    def line(self) -> str:
        """The line that parses to this question."""
        return str(self.__struct_config__.tag)


class Answer(msgspec.Struct, frozen=True, eq=False, tag_field="view"):
    """What a run says to a question. Arrays are float32 unless said; NaN is a value that was not computed."""

    def kept(self, question: Question, session: Session, clean: bool) -> Swept | None:
        """What of the answer to a job stays in the session, with what it was made of; None where nothing does. clean:
        whether it is the clean run's."""
        return None

    def measured(self) -> float | None:
        """The logit difference after the question's position, where the answer says one: what the history notes at the
        present state."""
        return None

    def json(self) -> dict[str, Any]:
        """Plain numbers, nested lists, dicts: what `mechtui run` prints. NaN becomes null."""
        return {name: plain(getattr(self, name)) for name in self.__struct_fields__}


def plain(value: Any) -> Any:
    """numpy and structs -> what json can say."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value

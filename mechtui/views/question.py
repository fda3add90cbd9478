"""What all questions and answers have in common."""

from __future__ import annotations

from typing import Any, Self

import msgspec
import numpy as np

from mechtui.session.lines import LineError, short


class Question(msgspec.Struct, frozen=True, tag_field="view"):
    """One question about a run. Equal questions have equal answers for equal sessions."""

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

"""One session that is to be answered, and what is printed of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechtui import __version__
from mechtui.link.messages import Checked, Load, Ready
from mechtui.session.cases import Case
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.cases import parse_cases
from mechtui.session.paths import PathError, to_read
from mechtui.session.storage import to_builtins
from mechtui.views import Answer, Question, parse_question, spec_of
from mechtui.views.cases import Cases
from mechtui.views.question import plain
from mechtui.views.tokens import Tokens, TokensAnswer

DEFAULT_VIEWS = ("next_tokens",)
# Clean and edited, by question as it was asked.
Answered = Mapping[Question, tuple[Answer | None, Answer | None]]


@dataclass(frozen=True)
class Item:
    """One session to be answered.

    questions: by the line as it was written, what the model process is asked. file: the session's file; case: the
    number of its case, from 0; each only where there are several. place: how messages call it, empty where no
    file has it.
    """

    session: Session
    questions: Mapping[str, Question]
    file: str | None = None
    case: int | None = None
    place: str = ""

    @property
    def asked(self) -> tuple[Question, ...]:
        """What the model process is asked, each once."""
        base = () if self.without_prompt else (Tokens(),)
        return tuple(dict.fromkeys((*base, *self.questions.values())))

    @property
    def without_prompt(self) -> bool:
        """Whether there is no prompt, and nothing that is asked needs one."""
        alone = all(spec_of(question).alone for question in self.questions.values())
        return alone and bool(self.questions) and not self.session.prompt and self.session.bos != "yes"

    def files(self) -> list[str]:
        """Files whose contents decide the numbers: of vectors, of dictionaries, of cases, and those that the questions
        name."""
        of_vectors = [file for vector in self.session.vectors for file in vector.reads]
        of_cases = [parse_cases(self.session.cases).file] if self.session.cases else []
        of_saes = [file for sae in self.session.saes for file in files_of(sae)]
        of_questions = [file for each in self.questions.values() for file in each.reads]
        return [file for file in (*of_vectors, *of_saes, *of_cases, *of_questions) if file]

    def fingerprint(self, load: Load, content: Callable[[str], str]) -> str:
        """The same for the same session, questions, files that they name, place among the others, and way to load the
        model. content: of a file, what is other where it holds something else."""
        of = [
            __version__,
            to_builtins(self.session),
            list(self.questions),
            list(map(content, self.files())),
            self.file,
            self.case,
            [getattr(load, name) for name in load.__struct_fields__],
        ]
        return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:16]

    def result(self, ready: Ready, checked: Checked, answered: Answered) -> dict[str, Any]:
        """What is printed. answered: an answer to each of `asked`."""
        tokens = None if self.without_prompt else answered[Tokens()][0]
        assert tokens is None or isinstance(tokens, TokensAnswer)
        pairs = {line: answered[question] for line, question in self.questions.items()}
        edited = {line: pair[1].json() for line, pair in pairs.items() if pair[1] is not None}
        which = {"file": self.file, "case": self.case}
        return {
            **{key: value for key, value in which.items() if value is not None},
            "session": to_builtins(self.session),
            "model": _model(ready, checked),
            "tokens": [{"id": token.id, "text": token.text} for token in (tokens.tokens if tokens else ())],
            "clean": {line: pair[0].json() for line, pair in pairs.items() if pair[0] is not None},
            # The session that `compare` names may have edits where this one has none.
            "edited": edited if edited or self.session.active_edits() else None,
        }


def files_of(sae: Sae) -> list[str]:
    """Those of a dictionary that lies in files here."""
    place = Path(sae.path).expanduser()
    folder = sorted(place.glob("*")) if place.is_dir() else [place, *place.parent.glob("*.json")]
    wanted = (".safetensors", ".npz", ".pt", ".json", ".csv")
    return [str(each) for each in folder if each.suffix in wanted and each.is_file()] + [sae.labels]


def content_of(file: str) -> str:
    """What is other where the file holds something else; empty where it cannot be read, which its reader says."""
    try:
        with to_read(file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (PathError, OSError):
        return ""


def _model(ready: Ready, checked: Checked) -> dict[str, Any]:
    return {
        "name": ready.name,
        "source": ready.source,
        "architecture": ready.architecture,
        "n_layers": ready.shape.n_layers,
        "n_heads": ready.shape.n_heads,
        "n_kv_heads": ready.shape.n_kv_heads,
        "d_model": ready.shape.d_model,
        "d_head": ready.shape.d_head,
        "device": ready.device,
        "dtype": ready.dtype,
        "weights": ready.weights,
        "checked": {
            "differences": plain(checked.differences),
            "tolerance": plain(checked.tolerance),
            "problem": checked.sentence,
        },
    }


def place_of(file: str) -> str:
    """How messages call a session's file; empty for none."""
    return "the standard input" if file == "-" else file


def items_of(
    sessions: Sequence[tuple[str, Session]],
    views: Sequence[str] = (),
    cases: Sequence[Case] | None = None,
    cases_name: str = "",
) -> list[Item]:
    """Every session with every case; those of one model stand together. sessions: the name of each one's file, and the
    session. views: question lines besides the sessions' own. The lines have been read before: they mean something."""
    models = list(dict.fromkeys(session.model for _, session in sessions))
    items: list[Item] = []
    for name, session in sorted(sessions, key=lambda pair: models.index(pair[1].model)):
        lines = session.views + tuple(views) or DEFAULT_VIEWS
        if session.cases and cases is None and not any(isinstance(parse_question(line), Cases) for line in lines):
            lines = (*lines, Cases().line())
        questions = {line: parse_question(line).asked() for line in lines}
        file = name if len(sessions) > 1 else None
        if cases is None:
            items.append(Item(session, questions, file, None, place_of(name)))
            continue
        for number, case in enumerate(cases):
            place = f"case {number} ({cases_name} line {case.line})"
            place = f"{name}, {place}" if file else place
            items.append(Item(case.of(session), questions, file, number, place))
    return items

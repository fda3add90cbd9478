"""Fit a lens on a model: `mechtui lens fit [MODEL]`.

texts.py     rows of tokens, from a text file or the embedded models' own text; some are held out
tuned.py     an affine map for each layer, trained to come near the final distribution
jacobian.py  the mean Jacobian from each layer to the last, by transformer-lens
fitted.py    what comes of it, and its file
measure.py   KL(final || lens) of each layer on what is held out
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["tuned", "jacobian"]
MISTAKE, NO_MODEL, FAILED, INTERRUPTED = 2, 3, 4, 130
# Steps of gradient descent, and texts of a Jacobian, where nobody says how many.
COUNTS: dict[Kind, int] = {"tuned": 250, "jacobian": 64}


@dataclass(frozen=True)
class Wanted:
    """model: by any name that --model takes. text: a file, None for mechtui's own text. output: where the lens goes,
    None for a name made of the model's. count: steps, or texts; None for as many as are usual. seed: of the order of
    the rows. device: as --device takes it."""

    model: str = "demo"
    text: str | None = None
    output: str | None = None
    kind: Kind = "tuned"
    count: int | None = None
    seed: int = 0
    device: str = "auto"

    @property
    def steps(self) -> int:
        return COUNTS[self.kind] if self.count is None else self.count

    def path(self) -> Path:
        """Where the lens is written; no file is there yet. Raises PathError."""
        import re

        from mechtui.session.paths import PathError, to_write

        name = self.output
        if name is None:
            stem = re.sub(r"[^\w.@-]+", "-", self.model.rstrip("/").rpartition("/")[2])
            name = f"{stem}-{self.kind}.safetensors"
        if not name.endswith(".safetensors"):
            raise PathError(f"{name} should end in .safetensors")
        path = to_write(name)
        if path.exists():
            raise PathError(f"{name} is there already: name another file with --output")
        return path


def run(wanted: Wanted) -> int:
    """Fit, write, print the KL before and after -> exit status. ctrl+c ends the fitting: what is fitted by then is
    written and measured."""
    import sys

    from mechtui.engine.errors import ModelError, SessionError
    from mechtui.fitting.texts import NoTextError
    from mechtui.session.paths import PathError
    from mechtui.visible import seen

    try:
        path = wanted.path()
        return _run(wanted, path)
    except (PathError, NoTextError) as error:
        status, said = MISTAKE, str(error)
    except ModelError as error:
        status, said = NO_MODEL, str(error)
    except (SessionError, OSError) as error:
        status, said = FAILED, str(error)
    except KeyboardInterrupt:
        status, said = INTERRUPTED, "interrupted before anything was fitted: nothing is written"
    print(f"mechtui: {seen(said)}", file=sys.stderr)
    return status


def _run(wanted: Wanted, path: Path) -> int:
    import sys
    from contextlib import suppress

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from mechtui.console import VisibleConsole
    from mechtui.engine.errors import SessionError
    from mechtui.fitting import jacobian, measure, texts, tuned
    from mechtui.link.messages import Load
    from mechtui.visible import seen
    from mechtui.worker.models.load import load

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=VisibleConsole(sys.stderr), transient=True) as bar:
        task = bar.add_task("loading", total=None, said="")

        def tell(what: str, done: int, of: int, said: str = "") -> None:
            bar.update(task, description=what, completed=done, total=of, said=said)

        model = load(Load(wanted.model, device=wanted.device, dtype="float32"), lambda *_: None, lambda: False)
        if model.shape.n_layers < 2:
            raise SessionError(f"{model.ready.name} has one layer, and a lens translates those before the last")
        rows = texts.rows_for(model, wanted.text, wanted.seed)
        before = measure.kl(model, rows.held_out, None, lambda done, of: tell("the logit lens", done, of))
        fit = jacobian.fit if wanted.kind == "jacobian" else tuned.fit
        fitted = fit(model, rows.fitted, wanted.steps, wanted.seed, tell)
        fitted.write(path, model.ready.name, rows.said, wanted.seed)
        translator = fitted.translator(path.stem)
        after: list[float] | None = None
        with suppress(KeyboardInterrupt):  # the lens is there, if not its figures
            after = measure.kl(model, rows.held_out, translator, lambda done, of: tell("the lens", done, of))
    print(seen(f"{fitted.said} of {rows.said}, seed {wanted.seed}; held out: {len(rows.held_out)} rows"))
    for line in () if after is None else measure.table(before, after):
        print(line)
    print(seen(f"{path} is written; it is shown by  lens file {path.name}"))
    return INTERRUPTED if fitted.interrupted or after is None else 0

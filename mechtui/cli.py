"""The command line. Whatever is heavy is imported by the command that needs it, and only then."""

from __future__ import annotations

import importlib
import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from mechtui import __version__
from mechtui.versions import unfit
from mechtui.visible import guard, seen

if TYPE_CHECKING:
    from mechtui.app.opening import Opened
    from mechtui.config import Settings
    from mechtui.session.document import Session

USAGE, NO_MODEL, FAILED, INTERRUPTED = 2, 3, 4, 130
# As in mechtui.config, which is not imported for --help.
DTYPES = ("auto", "float32", "float16", "bfloat16")


def _completed(kind: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """`shell_complete` of a parameter: mechtui.completion's function of this name, imported when the shell asks."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[Any]:
        found: list[Any] = getattr(importlib.import_module("mechtui.completion"), kind)(context, parameter, typed)
        return found

    return complete


Command = TypeVar("Command", bound=Callable[..., Any])

SESSION_OPTIONS = [
    click.option(
        "--model",
        metavar="M",
        help="gpt2, a hub id (@revision), a folder, a .gguf file, smollm2 or demo.",
        shell_complete=_completed("models"),
    ),
    click.option("--prompt", metavar="TEXT", help="What the model reads."),
    click.option("--source", metavar="TEXT", help="A second prompt, that patching takes its values from."),
    click.option("--answer", metavar="TOKEN", help="The token whose logit is explained, as in ' Mary'."),
    click.option("--foil", metavar="TOKEN", help="The token that it is compared with, as in ' John'."),
    click.option(
        "--vector", metavar="LINE", multiple=True, help='A steering vector: \'v = diff L6.pre "Love" "Hate"\'.'
    ),
    click.option(
        "--sae",
        metavar="[NAME=]PATH",
        multiple=True,
        help="A dictionary of features: a file, a folder or a hub id (@revision).",
    ),
    click.option("--edit", metavar="LINE", multiple=True, help="An edit: 'zero L9H9 @-1'. May be given several times."),
    click.option(
        "--bos", type=click.Choice(["auto", "yes", "no"]), help="Put the model's first token before the prompt."
    ),
    click.option("--align", metavar="WORD", help="How source and prompt are paired: auto, left, right, 3>4."),
    click.option(
        "--reference", "references", metavar="TEXT", multiple=True, help="A prompt that `mean` averages over."
    ),
    click.option(
        "--with-cases",
        "cases",
        metavar="LINE",
        help="Many prompts over which numbers are taken, too: 'ioi 64', or a file.",
    ),
    click.option(
        "--linear/--no-linear",
        default=None,
        help="Hold patterns, norm scales and neurons at their clean values, so that effects add up.",
    ),
]
MODEL_OPTIONS = [
    click.option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where the model runs.",
        shell_complete=_completed("devices"),
    ),
    click.option("--dtype", type=click.Choice(DTYPES), help="What the model computes in."),
    click.option("--device-map", type=click.Choice(["auto"]), help="Spread the model over several GPUs."),
    click.option("--fold-ln", is_flag=True, default=None, help="Fold LayerNorm's weights into the next layer's."),
    click.option("--trust-remote-code", is_flag=True, default=None, help="Run code that comes with a hub model."),
    click.option("--log-file", metavar="FILE", help="Where the model process writes its log."),
]


def _options(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


class _Commands(click.Group):
    """The commands; a reader of their output that has enough (`| head -1`) is no failure, which click says it is. A
    session file in a command's place is opened."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, rest, _ = self.make_parser(ctx).parse_args(list(args))
        if rest and rest[0].endswith(".toml") and rest[0] not in self.commands:
            args = [*args[: len(args) - len(rest)], *rest[1:], "--session", rest[0]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # Nothing may be left to flush into the pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(0)


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mechtui")
@click.option(
    "--session",
    "session_file",
    metavar="NAME|FILE",
    type=click.Path(),
    help="Go on with a kept session, or open a session file (TOML).",
    shell_complete=_completed("sessions"),
)
@click.option("--new", is_flag=True, help="Begin a new session; without it the last one goes on.")
@_options(SESSION_OPTIONS)
@_options(MODEL_OPTIONS)
@click.option(
    "--theme", metavar="NAME", help="Colours of the app; T goes through them.", shell_complete=_completed("themes")
)
@click.option(
    "--signs",
    type=click.Choice(["auto", "unicode", "ascii"]),
    help="What the terminal can show; auto: as its name and the locale say.",
)
@click.option("--mouse/--no-mouse", default=None, help="Take the mouse, or leave it to the terminal.")
@click.option("--keep-alive", metavar="TIME", help="How long the model stays in memory when the app goes: 30m; or off.")
@click.pass_context
def cli(context: click.Context, /, session_file: str | None, new: bool, **flags: Any) -> None:
    """See inside a language model, and change it, from the terminal.

    Without a command: the app, where you left it. --model, --prompt and --new begin a new session. Exit statuses: 0,
    2 (a mistake in what was typed), 3 (no such model), 4 (a run failed), 130 (interrupted).
    """
    # `info` says what is installed, whatever it is; the model process was started by one that has looked.
    if context.invoked_subcommand not in ("info", "worker", "completion", "stop") and (sentence := unfit()):
        click.echo(f"mechtui: {sentence}", err=True)
        sys.exit(NO_MODEL)
    context.obj = given = _given(flags)
    if context.invoked_subcommand is not None:
        if session_file:
            given["session_file"] = session_file
        return
    if new and session_file:
        _mistake("--new begins a session, and --session goes on with one: leave out one of them")
    chosen = _settings(given)
    _app(_opened(chosen, given, session_file, new or bool({"prompt", "model"} & given.keys())), chosen)


def _check_terminal() -> None:
    if not all(os.isatty(stream) for stream in (0, 1, 2)):
        _mistake("the app needs a terminal to read keys from and to draw on; mechtui run answers without one")
    if os.environ.get("TERM", "").lower() == "dumb":
        _mistake("TERM is dumb, the name of terminals that cannot place a cursor; mechtui run answers on any")


def _app(opened: Opened, settings: Settings) -> NoReturn:
    """Show the app until the user quits."""
    sys.exit(importlib.import_module("mechtui.app.app").run(opened, settings) or 0)


def _opened(chosen: Settings, given: dict[str, Any], asked: str | None, new: bool) -> Opened:
    """What the app begins with: the session that is asked for, by its name or its file; else the last one."""
    from mechtui.app import opening
    from mechtui.session.paths import to_write
    from mechtui.session.storage import StorageError

    file = asked is not None and (os.sep in asked or asked.endswith(".toml") or _only_a_file(asked))
    # What is wrong with what was typed is said before anything is opened.
    session = _session(chosen, given, asked if file else None)
    _check_terminal()
    if asked is not None and file:
        return opening.new(session, str(to_write(asked)))
    opened = None
    try:
        if asked is not None:
            opened = opening.kept(asked)
        elif not new:
            opened = opening.last()
    except StorageError as error:
        _mistake(seen(str(error)))
    if opened is None:
        return opening.new(session)
    return opened._replace(session=_session(chosen, given, None, opened.session))


def _only_a_file(asked: str) -> bool:
    """Whether it names a file and no kept session."""
    from mechtui.session import keeping

    return os.path.lexists(asked) and not keeping.exists(asked)


@cli.command()
@click.argument(
    "session_files",
    metavar="[SESSION.toml|-]...",
    nargs=-1,
    type=click.Path(),
    shell_complete=_completed("session_files"),
)
@_options(SESSION_OPTIONS)
@_options(MODEL_OPTIONS)
@click.option(
    "--view", "views", metavar="LINE", multiple=True, help="A question: 'next_tokens top20'. May be repeated."
)
@click.option(
    "--cases",
    "cases_file",
    metavar="FILE",
    type=click.Path(),
    help="Answer all for each case of a JSONL or CSV file: a line has prompt, source, answer, foil.",
)
@click.option("--output", metavar="FILE|-", default="-", show_default=True, help="Where answers go.")
@click.option(
    "--format", "output_format", type=click.Choice(["json", "jsonl", "npz", "csv"]), help="Else the file's name says."
)
@click.option("--watch", is_flag=True, help="Answer again whenever a file changes, until ctrl+c.")
@click.pass_obj
def run(
    given: dict[str, Any],
    /,
    session_files: tuple[str, ...],
    views: tuple[str, ...],
    cases_file: str | None,
    output: str,
    output_format: str | None,
    watch: bool,
    **flags: Any,
) -> NoReturn:
    """Answer sessions' questions without the app, as JSON.

    One object a session, each on a line of its own.
    `-` reads a session from the standard input, `--prompt -` the prompt. With --cases each session is answered for
    every case; started again with the same --output it goes on where it was.
    """
    given = {**given, **_given(flags)}
    before = given.pop("session_file", None)
    files = session_files or ((before,) if before else ())
    _settings(given)  # views of the user's own are taken in before anything reads the names of views
    from mechtui.headless import Wanted, read_stdin, run_headless
    from mechtui.options import asked_session, check_lines
    from mechtui.session.grammar.words import LineError

    try:
        check_lines(given)
    except LineError as error:
        _mistake(error.shown())
    texts = read_stdin(files, given, watch)
    chosen = _settings(given)

    def read(name: str | None) -> Session:
        return asked_session(chosen, given, name, texts.get(name or ""))

    sys.exit(run_headless(Wanted(read, files, views, cases_file, output, output_format, watch), chosen))


@cli.group()
def export() -> None:
    """Write a session as code that proves its numbers, or a report."""


TOOL: list[Callable[[Command], Command]] = [
    click.option(
        "--for",
        "tool",
        type=click.Choice(["transformer-lens", "nnsight"]),
        default="transformer-lens",
        show_default=True,
        help="The library that it uses.",
    ),
]


def _export(kind: str, what: str, files: str) -> None:
    """`mechtui export KIND`. files: how help names those it writes."""

    @export.command(kind, help=what)
    @click.argument(
        "session_file",
        metavar="[SESSION.toml]",
        required=False,
        type=click.Path(),
        shell_complete=_completed("session_files"),
    )
    @_options(SESSION_OPTIONS)
    @_options(MODEL_OPTIONS)
    @click.option("--view", "views", metavar="LINE", multiple=True, help="A question: 'lens'. May be repeated.")
    @click.option("--output", metavar=f"{files}|-", default="-", show_default=True, help="Where it is written.")
    @_options(TOOL if kind != "report" else [])
    @click.pass_obj
    def command(
        given: dict[str, Any], /, session_file: str | None, views: tuple[str, ...], output: str, **flags: Any
    ) -> NoReturn:
        tool = flags.pop("tool", "")
        given = {**given, **_given(flags)}
        session_file = session_file or given.get("session_file")
        given.pop("session_file", None)
        chosen = _settings(given)
        session = _session(chosen, given, session_file)
        if kind == "report":
            from mechtui.export.report_command import run_report

            sys.exit(run_report(session, views, output, chosen))
        from mechtui.export.command import run_export

        sys.exit(run_export(session, views, kind, output, chosen, tool))


_export("script", "A Python file in cells, whose assertions are the numbers of today.", "FILE.py")
_export("notebook", "The same as a Jupyter notebook.", "FILE.ipynb")
_export(
    "report",
    "A page of its numbers, tables and curves, clean beside edited.",
    "FILE.html|FILE.md",
)


@cli.command(hidden=True)
@click.option("--keep-alive", type=float, metavar="SECONDS", help="Stay for so long when the app goes.")
def worker(keep_alive: float | None) -> None:
    """The model process; mechtui starts it and speaks to it over stdin and stdout."""
    if sys.stdin.isatty():
        raise click.UsageError("this is the model process, which mechtui itself starts; it reads frames, not keys")
    if keep_alive is not None and not stat.S_ISSOCK(os.fstat(0).st_mode):
        raise click.UsageError("a model process that stays, which mechtui itself starts, speaks over a socket")
    importlib.import_module("mechtui.worker.main").main(keep_alive)


@cli.command()
@click.argument("processes", metavar="[PROCESS]...", type=int, nargs=-1)
def stop(processes: tuple[int, ...]) -> NoReturn:
    """End model processes that stay in memory (--keep-alive).

    PROCESS: these, by the numbers that `mechtui info` says; without one all that no app uses.
    """
    sys.exit(importlib.import_module("mechtui.info").stop(processes))


@cli.command()
def info() -> None:
    """Versions, devices, folders, and the models on this machine."""
    for line in importlib.import_module("mechtui.info").lines():
        click.echo(seen(line))


@cli.command()
@click.option("--all", "every", is_flag=True, help="List all, not only the last 20.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.argument("words", nargs=-1)
def sessions(words: tuple[str, ...], every: bool, as_json: bool) -> None:
    """List the kept sessions, the newest first.

    WORDS: only those with all of them in their name, model, prompt or edits.
    """
    importlib.import_module("mechtui.session.listing").show(" ".join(words), every=every, as_json=as_json)


@cli.command()
@click.argument("model", metavar="ID", shell_complete=_completed("models"))
@click.option("--sae", "dictionary", is_flag=True, help="ID is a dictionary of features: OWNER/NAME/FOLDER.")
def fetch(model: str, dictionary: bool) -> NoReturn:
    """Download a model from the Hugging Face hub. What is here already is not downloaded again."""
    sys.exit(importlib.import_module("mechtui.info").fetch(model, dictionary))


@cli.command()
@click.argument("model", default="demo", shell_complete=_completed("models"))
@click.option("--open", "number", metavar="N", type=int, help="Open the app on a session that shows line N of gpt2's.")
@click.option("--session-file", "-o", metavar="FILE", type=click.Path(), help="With --open: write the session instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_obj
def selftest(
    given: dict[str, Any], /, model: str, number: int | None, session_file: str | None, as_json: bool
) -> NoReturn:
    """Check mechtui's numbers on a model, and what is known of it.

    MODEL: as for --model, demo without one. Nothing is downloaded.
    """
    if number is not None:
        _open_claim(given, model, number, session_file)
    if session_file is not None:
        _mistake("-o (--session-file) writes the session of one line: say which with --open N")
    sys.exit(importlib.import_module("mechtui.selftest").run(model, as_json=as_json))


def _open_claim(given: dict[str, Any], model: str, number: int, file: str | None) -> NoReturn:
    """The app on the session that shows a published claim, or that session as a file."""
    from msgspec.structs import replace

    from mechtui.selftest import is_published
    from mechtui.selftest.claims import CLAIMS
    from mechtui.session.paths import PathError, to_write
    from mechtui.session.storage import StorageError, save

    if not is_published(model):
        _mistake(f"--open shows a published line, and those are of gpt2: {model} has none")
    if not 1 <= number <= len(CLAIMS):
        _mistake(f"there is no line {number}: mechtui selftest gpt2 has lines 1 to {len(CLAIMS)}")
    session = replace(CLAIMS[number - 1].session, model=model)
    if file is None:
        from mechtui.app import opening

        _check_terminal()
        _app(opening.new(session), _settings(given))
    try:
        if to_write(file).exists():
            _mistake(f"{file} is there already: name another file")
        save(session, file)
    except (PathError, StorageError) as error:
        _mistake(str(error))
    click.echo(f"{file} shows line {number}: {CLAIMS[number - 1].what}")
    sys.exit(0)


@cli.group()
def lens() -> None:
    """Lenses that translate what leaves a layer before it is read.

    In the app the line `lens file FILE.safetensors` shows one.
    """


@lens.command("fit")
@click.argument("model", default="demo", shell_complete=_completed("models"))
@click.option("--text", metavar="FILE", type=click.Path(), help="A text to fit it on; else mechtui's own.")
@click.option("--output", metavar="FILE.safetensors", type=click.Path(), help="Where it goes; else MODEL-KIND.")
@click.option("--kind", type=click.Choice(["tuned", "jacobian"]), default="tuned", show_default=True, help="Of lens.")
@click.option("--count", type=click.IntRange(1, 100_000), help="Steps (250), or texts of a Jacobian lens (64).")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the order of the text.")
@click.option("--device", metavar="auto|cpu|cuda", default="auto", help="Where the model runs.")
def lens_fit(model: str, **said: Any) -> NoReturn:
    """Fit a lens, print KL(final || layer) before and after on text that was held out.

    tuned: an affine map for each layer, trained to come near the final distribution. jacobian: the mean effect of a
    small change at a layer on the end, by transformer-lens. ctrl+c ends it and keeps what is fitted by then.
    """
    from mechtui.fitting import Wanted, run

    sys.exit(run(Wanted(model, **said)))


@cli.command()
@click.option("--model", metavar="M", help="What to measure; else gpt2 if it is here, else random weights.")
@click.option("--json", "json_path", metavar="FILE", type=click.Path(), help="Write all figures here.")
@click.option("--repeats", type=click.IntRange(3), default=7, show_default=True, help="Of each short measurement.")
@click.option("--only", metavar="TEXT", default="", help="Only the cases whose name holds this text.")
@click.option("--device", metavar="auto|cpu|cuda|cuda:N|mps", default="auto", help="Where the model runs.")
@click.option("--screen", is_flag=True, help="Only bytes, cells and milliseconds of keys in every pane.")
def bench(**said: Any) -> NoReturn:
    """Measure how fast mechtui is on this machine."""
    sys.exit(importlib.import_module("mechtui.bench").run(**said))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete mechtui's command line.

    \b
    bash, in ~/.bashrc:  eval "$(mechtui completion bash)"
    zsh, in ~/.zshrc:    eval "$(mechtui completion zsh)"
    fish, once:          mechtui completion fish > ~/.config/fish/completions/mechtui.fish
    """
    from mechtui.completion import script

    click.echo(script(cli, shell))


def main() -> None:
    """Entry point of `mechtui` and `python -m mechtui`."""
    guard()
    try:
        cli(standalone_mode=False, complete_var="_MECHTUI_COMPLETE")
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except Exception as error:
        if sys.argv[1:2] == ["worker"]:
            raise  # its stderr is the log
        from mechtui.fault import told

        where, _ = told(error)
        print(f"mechtui: this failed, by a mistake in mechtui; {where}", file=sys.stderr)
        sys.exit(FAILED)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Only the flags that were typed."""
    return {name: value for name, value in flags.items() if value is not None and value != ()}


def _settings(given: dict[str, Any]) -> Settings:
    from mechtui.config import ConfigError, settings

    try:
        chosen = settings(given)
    except ConfigError as error:
        _mistake(seen(str(error)))
    if chosen.views:
        _take_in(chosen.views)
    return chosen


def _take_in(folders: str) -> None:
    """Views of the user's own, here and in the model process, which has this one's variables."""
    os.environ["MECHTUI_VIEWS"] = folders
    from mechtui.views import ViewError, specs

    try:
        specs()
    except ViewError as error:
        _mistake(seen(str(error)))


def _session(
    chosen: Settings, given: dict[str, Any], session_file: str | None, stored: Session | None = None
) -> Session:
    """The session that is asked for; stored: one that was read already."""
    from mechtui.options import asked_session, with_flags
    from mechtui.session.grammar.words import LineError
    from mechtui.session.storage import StorageError

    try:
        return asked_session(chosen, given, session_file) if stored is None else with_flags(stored, chosen, given)
    except LineError as error:
        _mistake(error.shown())
    except StorageError as error:
        _mistake(seen(str(error)))


def _mistake(sentence: str) -> NoReturn:
    click.echo(f"mechtui: {sentence}", err=True)
    sys.exit(USAGE)

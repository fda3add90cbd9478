"""A real model process behind the real client: what it answers, what it refuses, how it dies and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from mechtui.link.client import Life, worker_command
from mechtui.link.frames import HEADER, UnsendableError, encode
from mechtui.link.messages import (
    Answered,
    Ask,
    Cancel,
    Checked,
    Failed,
    Finished,
    Heartbeat,
    Load,
    Models,
    ModelsFound,
    Ready,
    Reply,
    Stage,
    Started,
)
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from tests.end_to_end.talk import Talk
from tests.end_to_end.waiting import PATIENCE, wait_until_gone
from tests.tiny import make

# A model process that reads norms wrongly.
OTHERWISE = """
from mechtui.worker.models.direct import gpt2
gpt2.given = lambda config, name, kind, default: 1.0 if name == "layer_norm_epsilon" else config.get(name, default)
from mechtui.worker.main import main
main()
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Asking(Talk):
    """heard: what came since the last `ask`. loading: what came before the first one."""

    generation = 0
    loading: tuple[Reply | Life, ...] = ()

    def send(self, session: Session, *lines: str) -> int:
        """Ask, and forget what was heard before -> the generation."""
        self.heard.clear()
        self.generation += 1
        self.client.send(Ask(self.generation, session, tuple(parse_question(line) for line in lines)))
        return self.generation

    async def ask(self, session: Session, *lines: str) -> list[Reply | Life]:
        """Ask and wait for the end -> all that was heard of it."""
        self.send(session, *lines)
        await self.until(lambda r: isinstance(r, Finished) or (isinstance(r, Failed) and r.question is None))
        return [reply for reply in self.heard if not isinstance(reply, Heartbeat)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def talk(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asking]:
    talk = Asking(tmp_path_factory.mktemp("log") / "worker.log")
    await talk.client.start()
    talk.client.send(Load(str(tiny)))
    await talk.until(lambda reply: isinstance(reply, Checked | Failed))
    talk.loading = tuple(talk.heard)
    yield talk
    await talk.client.close()


def session(prompt: str = "Mary gave John", **fields: object) -> Session:
    return Session(prompt=prompt, bos="no", **fields)  # type: ignore[arg-type]


async def test_loading_says_what_it_does(talk: Asking) -> None:
    stages = [reply.stage for reply in talk.loading if isinstance(reply, Stage)]
    assert stages[0] == "importing torch"
    assert "reading weights" in stages
    ready = next(reply for reply in talk.loading if isinstance(reply, Ready))
    assert (ready.shape.n_layers, ready.shape.n_heads, ready.device, ready.dtype) == (3, 4, "cpu", "float32")


async def test_without_a_question_the_session_is_read_and_nothing_runs(talk: Asking) -> None:
    edits = (parse_edit("zero L0H0"), parse_edit("zero L9H0"))
    started, finished = await talk.ask(session(edits=edits, source="Mary gave Mary"))
    assert isinstance(started, Started)
    assert [problem.index for problem in started.problems] == [1]
    assert isinstance(finished, Finished)
    assert finished.ran == ""


async def test_a_model_is_checked_when_nothing_is_asked(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    talk = Talk(tmp_path / "worker.log")
    await talk.client.start()
    try:
        talk.client.send(Load(str(tiny)))
        talk.client.send(Ask(1, session(), (parse_question("next_tokens"),)))
        checked = await talk.until(lambda reply: isinstance(reply, Checked))
        order = [type(reply) for reply in talk.heard if isinstance(reply, (Ready, Started, Finished, Checked))]
        assert order == [Ready, Started, Finished, Checked]
        assert isinstance(checked, Checked)
        assert (checked.model, checked.sentence) == (str(tiny), "")
        assert max(checked.differences.values()) < 1e-4
        # One of TransformerLens's own has nothing to be compared with, and says so.
        talk.heard.clear()
        talk.client.send(Load("attn-only-1l"))
        native = await talk.until(lambda reply: isinstance(reply, Checked))
        assert native == Checked("attn-only-1l")
        # What held once for these very files need not be compared again.
        talk.heard.clear()
        talk.client.send(Load(str(tiny)))
        assert await talk.until(lambda reply: isinstance(reply, Checked)) == checked
        (verdict,) = (tmp_path / "cache" / "mechtui" / "checked").iterdir()
        assert msgspec.json.decode(verdict.read_bytes(), type=Checked) == checked
    finally:
        await talk.client.close()


async def test_a_model_that_is_read_otherwise_than_transformers_reads_it_is_loaded_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config.json asks for other norms than those with which it is then compared."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = make(tmp_path / "tiny")
    talk = Talk(tmp_path / "worker.log", command=[sys.executable, "-c", OTHERWISE])
    await talk.client.start()
    try:
        talk.client.send(Load(str(folder)))
        checked = await talk.until(lambda reply: isinstance(reply, Checked))
        assert isinstance(checked, Checked)
        assert checked.sentence == ""
        assert checked.differences["logits"] < 1e-4
        assert [type(reply) for reply in talk.heard if isinstance(reply, (Ready, Checked))] == [Ready, Ready, Checked]
        assert "read directly, Self-check: logits are up to " in (tmp_path / "worker.log").read_text()
        assert not (tmp_path / "cache" / "mechtui" / "checked").exists()
    finally:
        await talk.client.close()


async def test_answers_come_in_the_order_of_the_questions(talk: Asking) -> None:
    lines = ("residual", "next_tokens", "attention L0H1", "tokens")
    heard = await talk.ask(session(edits=(parse_edit("zero L1H0"),)), *lines)
    assert isinstance(heard[0], Started)
    assert [reply.question.line() for reply in heard if isinstance(reply, Answered)] == list(lines)
    edited = [reply.edited is not None for reply in heard if isinstance(reply, Answered)]
    assert edited == [True, True, True, False]  # the tokens are what they are
    assert isinstance(heard[-1], Finished)


async def test_a_generation_streams(talk: Asking) -> None:
    heard = await talk.ask(session(), "generate 5")
    answers = [reply for reply in heard if isinstance(reply, Answered)]
    assert len(answers) > 1
    assert [reply.partial for reply in answers] == [True] * (len(answers) - 1) + [False]


async def test_a_newer_ask_ends_the_older_one(talk: Asking) -> None:
    talk.send(session(), "generate 80")
    await talk.until(lambda reply: isinstance(reply, Answered))
    heard = await talk.ask(session("ab"), "next_tokens")
    assert [reply.question.line() for reply in heard if isinstance(reply, Answered)] == ["next_tokens"]


async def test_cancelling_ends_a_generation_and_says_so(talk: Asking) -> None:
    talk.send(session(), "generate 80")
    await talk.until(lambda reply: isinstance(reply, Answered))
    talk.client.send(Cancel("ask"))
    finished = await talk.until(lambda reply: isinstance(reply, Finished))
    assert isinstance(finished, Finished)
    assert finished.ran == "cancelled"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": "a" * 5000}, "reads 96: remove 4,904 of them"),
        ({"prompt": "a\ud800"}, "lone surrogate"),
    ],
)
async def test_a_prompt_that_cannot_be_run(talk: Asking, fields: dict[str, str], sentence: str) -> None:
    if "\ud800" in fields["prompt"]:
        with pytest.raises(UnsendableError):  # it cannot even be sent: the prompt's editor keeps it out
            encode(Ask(1, session(**fields), ()))
        return
    heard = await talk.ask(session(**fields), "next_tokens")
    assert isinstance(heard[-1], Failed)
    assert sentence in heard[-1].sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"edits": "zero L9H0"}, "has no L9H0: its layers are 0 to "),
        ({"edits": "zero L0H7"}, "has no L0H7: its heads are 0 to "),
        ({"edits": "add L1.pre love x2"}, "there is no steering vector love"),
        ({"edits": "zero L0H0 @99"}, "there is no position 99"),
        ({"edits": "patch L0H0"}, "the session has none"),
        ({"edits": "zero L0N999"}, "has no L0N999: its neurons are 0 to "),
        ({"answer": "ab"}, "is 2 tokens"),
        ({"foil": "xyz"}, "is 3 tokens"),
    ],
)
async def test_what_cannot_be_applied_is_named_and_the_rest_is_answered(
    talk: Asking, fields: dict[str, str], sentence: str
) -> None:
    edits = tuple(parse_edit(line) for line in [fields.get("edits", "")] if line)
    targets = {name: text for name, text in fields.items() if name != "edits"}
    heard = await talk.ask(session(edits=edits, **targets), "next_tokens")
    assert isinstance(heard[0], Started)
    assert [sentence in problem.sentence for problem in heard[0].problems] == [True]
    assert any(isinstance(reply, Answered) for reply in heard)


@pytest.mark.parametrize("prompt", ["🙂 日本語", "\x00\x01\x1b[31m", "a\tb\n\nc", "e\u0301\u200b"])
async def test_any_text_is_a_prompt(talk: Asking, prompt: str) -> None:
    heard = await talk.ask(session(prompt), "tokens")
    answers = [reply.clean for reply in heard if isinstance(reply, Answered)]
    assert len(answers[0].tokens) == len(prompt.encode())  # type: ignore[union-attr]


async def test_a_question_about_a_head_that_is_not_there_leaves_the_others(talk: Asking) -> None:
    heard = await talk.ask(session(), "attention L9H9", "next_tokens")
    failed = next(reply for reply in heard if isinstance(reply, Failed))
    assert failed.question == parse_question("attention L9H9")
    assert any(isinstance(reply, Answered) and reply.question.line() == "next_tokens" for reply in heard)
    assert isinstance(heard[-1], Finished)


async def test_a_model_that_cannot_be_had_leaves_the_one_before(talk: Asking, tmp_path: Path) -> None:
    talk.heard.clear()
    talk.client.send(Load(str(tmp_path)))
    failed = await talk.until(lambda reply: isinstance(reply, Failed))
    assert isinstance(failed, Failed)
    assert (failed.task, failed.model) == ("load", str(tmp_path))
    heard = await talk.ask(session(), "next_tokens")
    assert isinstance(heard[-1], Finished)


async def test_models_are_found(talk: Asking) -> None:
    talk.client.send(Models())
    await talk.until(lambda reply: isinstance(reply, ModelsFound))


async def test_it_tells_that_it_lives(talk: Asking) -> None:
    talk.heard.clear()
    beat = await talk.until(lambda reply: isinstance(reply, Heartbeat))
    assert isinstance(beat, Heartbeat)
    assert beat.rss > 50_000_000
    assert beat.traces > 0


async def test_killed_in_the_middle_it_comes_back_with_the_answer(talk: Asking, tiny: Path) -> None:
    talk.client.send(Load(str(tiny)))
    await talk.ask(session(), "next_tokens")
    before = next(reply.clean for reply in talk.heard if isinstance(reply, Answered))
    talk.heard.clear()
    os.kill(talk.client.pid, signal.SIGKILL)
    await talk.until(lambda reply: isinstance(reply, Finished))
    life = next(reply for reply in talk.heard if isinstance(reply, Life))
    assert life.state == "restarting"
    assert "killed (SIGKILL)" in life.sentence
    after = next(reply.clean for reply in talk.heard if isinstance(reply, Answered))
    assert after.json() == before.json()  # type: ignore[union-attr]


async def test_it_ends_when_its_stdin_does_while_torch_is_being_imported() -> None:
    process = subprocess.Popen(
        worker_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.read(1)  # it speaks: the imports have begun
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="finds children through /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
async def test_no_process_outlives_its_parent(number: signal.Signals, tiny: Path, home: dict[str, str]) -> None:
    command = [sys.executable, "-m", "mechtui", "run", "--model", str(tiny), "--prompt", "a", "--view", "generate 90"]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=home)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + 30
    while not (found := children.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child = int(found[0])
    # It is a session of its own once it has become the worker.
    while os.getsid(child) != child:
        assert time.monotonic() < deadline, "the worker never had a session of its own"
        time.sleep(0.01)
    parent.send_signal(number)
    _, stderr = parent.communicate(timeout=10)
    wait_until_gone(child)
    if number == signal.SIGINT:
        assert parent.returncode == 130
        assert stderr == b"mechtui: interrupted\n"


async def test_what_a_library_prints_never_reaches_the_wire() -> None:
    script = (
        "import os, sys\n"
        "from mechtui.worker.wire import Wire, take_over\n"
        "from mechtui.link.messages import Fetched\n"
        "wire = Wire(take_over())\n"
        "print('printed')\n"
        "os.write(1, b'written')\n"
        "os.system('echo child')\n"
        "assert sys.stdin.read() == ''\n"
        "wire.send(Fetched('m'))\n"
        "assert wire.read() == b'request'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=b"request", capture_output=True, timeout=60, check=True)
    from mechtui.link.messages import Fetched

    assert done.stdout == encode(Fetched("m"))
    assert len(done.stdout) > HEADER.size
    for noise in (b"printed", b"written", b"child"):
        assert noise in done.stderr

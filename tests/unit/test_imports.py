"""Who imports whom, as it happens: each side of the wire is imported whole in a process of its own. And that nobody
imports, by way of others, whoever imports them.

The contracts in pyproject.toml read the source; the first test sees what importlib does at run time too.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mechtui

IMPORT = """
import importlib, json, sys
for name in {names!r}:
    importlib.import_module(name)
unwanted = {unwanted!r}
loaded = sorted(n for n in sys.modules if n in unwanted or n.startswith(tuple(u + "." for u in unwanted)))
print(json.dumps(loaded))
"""
REFUSED = """
import sys
from mechtui.link.messages import Failed, Load
from mechtui.worker.main import Worker

class Heard:
    said = []
    def send(self, reply, number=None):
        self.said.append(reply)

worker = Worker(Heard())
for name in ("/nowhere", "nobody/nothing", "nothing.gguf"):
    worker.receive(Load(name))
    assert isinstance(reply := worker.wire.said.pop(), Failed) and reply.task == "load" and reply.model == name, reply
assert not worker.inbox.load_waits
worker.receive(Load("demo"))
assert not worker.wire.said and worker.inbox.load_waits
assert "torch" not in sys.modules
"""
MODEL = ["torch", "transformers", "transformer_lens", "mechtui.engine", "mechtui.worker"]
SCREEN = ["textual", "mechtui.app", "mechtui.panes", "mechtui.paint"]


def modules() -> list[str]:
    """Every module of mechtui, by its file: nothing is imported to find them."""
    folder = Path(mechtui.__file__).parent
    files = [file.relative_to(folder.parent).with_suffix("") for file in folder.rglob("*.py")]
    return sorted(".".join(file.parts).removesuffix(".__init__") for file in files if file.name != "__main__")


@pytest.mark.parametrize(
    ("wanted", "files", "unwanted"),
    [
        (["mechtui.session"], [], [*MODEL, *SCREEN, "mechtui.views", "mechtui.link"]),
        (["mechtui.link"], [], [*MODEL, *SCREEN]),
        (["mechtui.paint"], [], [*MODEL, "textual", "mechtui.app", "mechtui.panes", "mechtui.link"]),
        (["mechtui.panes"], [], [*MODEL, "mechtui.app"]),
        (["mechtui.app", "mechtui.headless", "mechtui.cli", "mechtui.config"], ["pane"], MODEL),
        (["mechtui.engine", "mechtui.worker"], ["compute"], SCREEN),
    ],
    ids=["session", "link", "paint", "panes", "app", "worker"],
)
def test_a_room_imports_no_more_than_it_may(wanted: list[str], files: list[str], unwanted: list[str]) -> None:
    names = [name for name in modules() if any(f"{name}.".startswith(f"{each}.") for each in wanted)]
    names += [name for name in modules() if name.startswith("mechtui.views.") and name.rsplit(".", 1)[1] in files]
    assert names
    script = IMPORT.format(names=names, unwanted=unwanted)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_a_model_that_is_not_there_is_named_before_torch_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def imports(name: str, known: set[str]) -> set[str]:
    """The modules of mechtui that a module's source imports anywhere: within functions and for typing, too."""
    path = Path(mechtui.__file__).parent.parent.joinpath(*name.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{name} imports relatively"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` needs the module, `from module import name` the module that has the name.
            wanted |= {each if each in known else node.module for each in whole}
    return wanted & known - {name}


def test_nobody_imports_in_a_circle() -> None:
    known = set(modules())
    try:
        TopologicalSorter({name: imports(name, known) for name in known}).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))

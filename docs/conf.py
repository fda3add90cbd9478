"""The documents as a site: `just docs` writes it to site/, which needs no other file and asks no other host."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[1]

project = "mechtui"
project_copyright = "the authors of mechtui"
release = re.findall(r'__version__ = "(.*)"', (TOP / "mechtui/__init__.py").read_text("utf-8"))[0]
extensions = ["myst_parser"]
# The repository is the source, so that links between its files lead to the same places here as there.
root_doc = "README"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/**/*.md",
    "docs/*.md",
    "mechtui/embedded/weights/*/CARD.md",
]
# Anchors of headings, made as GitHub makes them; an aim that is not there fails the build.
myst_heading_anchors = 4
smartquotes = False
html_theme = "furo"
html_title = f"mechtui {release}"
html_extra_path = [".site"]
html_show_sphinx = False
html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "monokai"

# What stands at the left, in this order.
SECTIONS = {
    "Tasks": [
        "docs/tasks/README",
        *(
            f"docs/tasks/{name}"
            for name in (
                *("which-head-decides", "layers", "induction-heads", "patch", "path", "head-words", "neurons"),
                *(
                    "features",
                    "superposition",
                    "steer",
                    "cases",
                    "circuit",
                    "compare",
                    "script-or-report",
                    "cluster",
                    "session-from-somebody",
                ),
            )
        ),
    ],
    "Workspaces": [f"docs/workspaces/{name}" for name in ("look", "explain", "weights", "units", "steer", "compare")],
    "Settings and keys": [
        "docs/keys",
        "docs/configuration",
        "docs/settings",
        "docs/commands",
        "docs/terminals",
        "docs/ssh",
        "docs/troubleshooting",
    ],
    "Reference": ["docs/views", "docs/lines", "docs/models", "docs/selftest", "docs/performance"],
    "Embedded models": [
        str(card.relative_to(TOP).with_suffix("")) for card in sorted(TOP.glob("mechtui/embedded/weights/*/CARD.md"))
    ],
    "Development": [
        "CONTRIBUTING",
        "docs/dev/architecture",
        "docs/dev/words",
        "docs/dev/add-a-view",
        "docs/dev/add-an-op",
        "docs/dev/add-an-architecture",
        "docs/dev/testing",
        "CHANGELOG",
    ],
}


def contents() -> str:
    """SECTIONS as directives."""
    trees = (f":caption: {name}\n" + "\n".join(pages) for name, pages in SECTIONS.items())
    return "".join(f"\n```{{toctree}}\n:hidden:\n{tree}\n```\n" for tree in trees)


def setup(app: object) -> None:
    """The first page gets the contents, which GitHub would show as code."""

    def read(_: object, name: str, source: list[str]) -> None:
        if name == root_doc:
            source[0] += contents()

    app.connect("source-read", read)  # type: ignore[attr-defined]

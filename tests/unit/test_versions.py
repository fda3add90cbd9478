"""A library whose version does not work is refused at the start, by name."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from mechtui.versions import WORKS, unfit

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("package", "version", "here"),
    [
        ("transformers", "4.57.1", "transformers 4.57.1 is installed"),
        ("transformers", "5.18.0", "transformers 5.18.0 is installed"),
        ("transformers", "6.0.0.dev0", "transformers 6.0.0.dev0 is installed"),
        ("transformers", None, "transformers is not installed"),
        ("transformer-lens", "2.16.1", "transformer-lens 2.16.1 is installed"),
        ("transformer-lens", "5.0", "transformer-lens 5.0 is installed"),
    ],
)
def test_a_version_that_does_not_work_is_named(
    package: str, version: str | None, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version

    def fake(name: str) -> str:
        if name != package:
            return real(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", fake)
    assert unfit().startswith(f"{here}, and mechtui works with >=")
    assert f"pip install '{package}>=" in unfit()


def test_what_is_installed_here_works() -> None:
    assert unfit() == ""


def test_pip_knows_the_same() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for package, (oldest, beyond) in WORKS.items():
        assert f"{package}>={oldest[0]}.{oldest[1]},<{beyond[0]}" in wanted


@pytest.mark.parametrize(("arguments", "status"), [([], 3), (["run"], 3), (["selftest", "demo"], 3), (["info"], 0)])
def test_the_command_line_refuses_at_the_start(arguments: list[str], status: int, tmp_path: Path) -> None:
    """With an old transformers in front of the installed one."""
    (tmp_path / "transformers-4.57.1.dist-info").mkdir()
    (tmp_path / "transformers-4.57.1.dist-info" / "METADATA").write_text("Name: transformers\nVersion: 4.57.1\n")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['mechtui', *{arguments!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", script + "from mechtui.cli import main; main()"],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    if status:
        assert re.fullmatch(r"mechtui: transformers 4\.57\.1 is installed, and mechtui works with .*\n", done.stderr)

"""A fresh process: how long until its first result, and how much memory it holds at the longest prompt."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mechtui.bench.subject import Subject


def fresh_process(subject: Subject) -> dict[str, float]:
    """Start a Python of its own with the subject's model. Seconds and megabytes. Raises RuntimeError."""
    command = [sys.executable, "-m", "mechtui.bench.child", subject.name, str(subject.device), repr(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measuring process failed: {done.stderr.strip().splitlines()[-1]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    name, device, started = sys.argv[1], sys.argv[2], float(sys.argv[3])
    from mechtui.allocator import map_large, tidy
    from mechtui.worker.process import resident_bytes

    map_large()  # as the model process does
    from mechtui.bench.subject import PANES, ask, subject
    from mechtui.session.document import Session
    from mechtui.session.grammar.edits import parse_edit

    figures: dict[str, Any] = {"imported_s": time.time() - started}
    chosen = subject(name, device)
    figures["loaded_s"] = time.time() - started
    ask(chosen.engine, Session(prompt=chosen.text(32)))
    figures["first_result_s"] = time.time() - started
    parameters = {p.data_ptr(): p.numel() * p.element_size() for p in chosen.model.bridge.parameters()}
    figures["weights_mb"] = sum(parameters.values()) / 1e6
    if sys.platform == "linux":
        count = min(1024, chosen.model.shape.n_ctx)
        edit = parse_edit("zero L0H0")
        for seed in range(3):  # the prompt changes twice, as when one types
            text = chosen.text(count, seed)
            ask(chosen.engine, Session(prompt=text, edits=(edit,)), (*PANES, "tokens", "heads norm", "effects"))
        figures["longest_prompt_tokens"] = count
        figures["resident_after_a_run_mb"] = resident_bytes() / 1e6
        tidy()  # as the model process does when nothing is asked for a second
        figures["resident_mb"] = resident_bytes() / 1e6
        figures["traces_mb"] = chosen.engine.trace_bytes / 1e6
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""A mistake of mechtui's own: the whole of it goes to the log, and the user is told where that is."""

from __future__ import annotations

import traceback
from pathlib import Path

from mechtui.visible import seen


def told(error: BaseException, log: Path | None = None, known: str = "") -> tuple[str, str]:
    """Write the traceback to the log -> (where it is, in words that end a sentence; the traceback).

    log: the file, default the one in the state folder. known: a traceback that is not written once more.
    """
    from mechtui.link.client import log_path, open_log

    trace = "".join(traceback.format_exception(error))
    try:
        if trace != known:
            with open_log(log) as file:
                file.write(seen(trace, keep="\n").encode("utf-8"))
    except OSError as problem:
        return f"no log can be written ({problem.strerror or problem})", trace
    return f"the log has the rest: {log_path(log)}", trace

"""`mechtui run`: sessions and their questions answered without a screen.

ending  exit statuses, and the sentences that go with them
run     what is asked for, from the first reading to the exit status
cases   a file with one case a line, each with texts of its own
work    one session to be answered, and what is printed of it
asking  the model process, asked about one session after the other
journal results on the disk as they are finished, so that a run that was killed goes on
output  results as JSON, JSONL, npz and CSV
reading a session of settings, file and flags
stdin   a session or a prompt from the standard input
watch   again whenever a file changes
"""

from __future__ import annotations

from mechtui.headless.run import Wanted, run_headless
from mechtui.headless.stdin import read_stdin

__all__ = ["Wanted", "read_stdin", "run_headless"]

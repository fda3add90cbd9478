"""The traces that are kept, within a budget of memory."""

from __future__ import annotations

from collections.abc import Iterator

from mechtui.engine.trace import Trace
from mechtui.session.hook_edits import HookEdits, Ids

# Traces are compared one by one before a run; more of them than this are never worth the comparison.
MOST_TRACES = 32


class TraceStore:
    """Traces, least recently used first. budget: bytes that they may hold."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._traces: list[Trace] = []
        self._at_most = 0  # bytes that they hold, if they share nothing

    def __iter__(self) -> Iterator[Trace]:
        return iter(self._traces)

    def __len__(self) -> int:
        return len(self._traces)

    @property
    def bytes(self) -> int:
        """What the traces hold; tensors that several share count once."""
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for trace in self._traces
            for tensor in trace.tensors()
        }
        return sum(storages.values())

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes more are within the budget."""
        return self.bytes + size <= self.budget

    def known(self, ids: Ids, edits: HookEdits) -> Trace | None:
        """The trace of this very run."""
        return next((trace for trace in self._traces if trace.ids == ids and trace.edits == edits), None)

    def touch(self, trace: Trace) -> None:
        """It was just used."""
        self._traces.remove(trace)
        self._traces.append(trace)

    def keep(self, trace: Trace) -> None:
        """Add a trace; the least recently used go where there are too many or they hold too much."""
        self._traces.append(trace)
        del self._traces[:-MOST_TRACES]
        self._count(sum(tensor.nbytes for tensor in trace.tensors()))

    def grown(self, trace: Trace, size: int) -> None:
        """A trace holds so many bytes more than before: it is the last to go for them."""
        # The linear model knows a clean run by a copy, which holds the very same.
        own = next((each for each in self._traces if each.taken is trace.taken), None)
        if own is not None:
            self.touch(own)
            self._count(size)

    def _count(self, size: int) -> None:
        # Adding up what is shared once takes a while, so it is done only when the sum could be too much.
        self._at_most += size
        if self._at_most > self.budget:
            while len(self._traces) > 2 and self.bytes > self.budget:
                del self._traces[0]
            self._at_most = self.bytes

    def forget(self) -> None:
        self._traces.clear()
        self._at_most = 0

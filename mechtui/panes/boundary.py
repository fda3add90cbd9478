"""Where whatever went wrong ends: one sentence on the screen, the traceback in the log, and the program goes on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

if TYPE_CHECKING:
    from textual.message import Message
    from textual.message_pump import MessagePump
else:
    # Textual takes a widget's default styles from the first of its bases that is a widget.
    MessagePump = object


Left = TypeVar("Left")


class Guarded(MessagePump):
    """For the app, its screens and widgets: a handler or a callback that raises is told of by the app's `went_wrong`.

    Textual would end the program.
    """

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:  # noqa: BLE001 - it is told of, and nothing that was typed is lost
            tell(self, error)

    def call_next(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Timers call by this way too."""
        super().call_next(self._safe(callback), *args, **kwargs)

    def call_after_refresh(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        return super().call_after_refresh(self._safe(callback), *args, **kwargs)

    def _safe(self, callback: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, None]]:
        """The same, as a coroutine that raises nothing: for a worker too, whose faults come by no handler."""

        async def call(*args: Any, **kwargs: Any) -> None:
            try:
                result = callback(*args, **kwargs)
                if isawaitable(result):
                    await result
            except Exception as error:  # noqa: BLE001 - it is told of, and nothing that was typed is lost
                tell(self, error)

        return call


class Window(Guarded, ModalScreen[Left]):
    """A window over the app, which is left once: of two keys that come together, the second is not for it any more."""

    def dismiss(self, result: Left | None = None) -> AwaitComplete:
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


def tell(part: MessagePump, error: Exception) -> None:
    """Hand a fault of a part of the app to the app, if that takes it."""
    went_wrong: Callable[[Exception], None] | None = getattr(part.app, "went_wrong", None)
    if went_wrong is None:
        raise error
    went_wrong(error)

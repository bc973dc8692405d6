"""One model on the screen of `top`: what `explain` and `show` print, asked again when the agent told of something.

Never asks by the clock: to explain a bundle the agent looks at all of it.
"""

import io
from collections.abc import Callable
from typing import Any, ClassVar

from rich.console import Console
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from pumas_agent.cli.explain import print_explanation
from pumas_agent.cli.output import printable
from pumas_agent.cli.show import print_model
from pumas_agent.cli.top.feed import Feed
from pumas_agent.contracts.errors import PumasError

_LOOK_S = 0.5
_WIDE = 10_000
"""Lines are folded by the screen, which knows how wide it is."""


class Details(Screen[None]):
    """Why a model is as it is, and what is recorded of it."""

    CSS = """
    #about { height: 1fr; }
    #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "dismiss", "Back")]

    def __init__(self, feed: Feed, model_id: str) -> None:
        """Ask on the connection of the feed, when the feed has news."""
        super().__init__()
        self._feed = feed
        self._model_id = model_id
        self._seen: tuple[int, str | None] | None = None

    def compose(self) -> ComposeResult:
        """The words, and the keys."""
        with VerticalScroll(id="about"):
            yield Static(f"asking about {printable(self._model_id)}", id="words", markup=False)
        yield Static(" Esc back  q quit  arrows PgUp PgDn move", id="keys", markup=False)

    def on_mount(self) -> None:
        """Ask now and with each news: what is repaired shows."""
        self.query_one("#about").focus()
        self.call_later(self._load)
        self.set_interval(_LOOK_S, self._load)

    async def _load(self) -> None:
        news = self._feed.events, self._feed.view.gone
        if news == self._seen:
            return
        self._seen = news
        try:
            told = await self._feed.client.call("explain_model", model_id=self._model_id)
            model = await self._feed.client.call("get_model", model_id=self._model_id)
        except PumasError as error:
            hint = f"\n-> {printable(error.hint)}" if error.hint else ""
            words = Text(f"{printable(self._model_id)}: {printable(error.message)}{hint}")
        else:
            words = Text("\n").join(
                [_drawn(lambda console: print_explanation(console, told)), _drawn(lambda c: print_model(c, model))]
            )
        self.query_one("#words", Static).update(words)


def _drawn(draw: Callable[[Console], Any]) -> Text:
    """What a command would print on a terminal, as text with its styles."""
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        width=_WIDE,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=False,
    )
    with console.capture() as captured:
        draw(console)
    return Text.from_ansi(captured.get())

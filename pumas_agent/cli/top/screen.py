"""The screen of `top`: what the feed knows, drawn with textual.

Owns keys, places and colours. Asks the agent nothing itself; what it draws is text, never markup. Only the terminal's
own colours are used, so that it reads on any background, and none at all with NO_COLOR: each state is a word too.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.css.query import NoMatches
from textual.widgets import DataTable, Input, Static

from pumas_agent.cli.output import printable
from pumas_agent.cli.top.details import Details
from pumas_agent.cli.top.feed import Feed
from pumas_agent.cli.top.view import Row, View, Wrong, age, headline, matching, rows, summary, wrongs

_MOST = 500
"""Rows of the table; whoever wants one of the others filters."""
_COLUMNS = ("STATE", "JUDGED", "ALERTS", "MODEL", "TYPE", "STORAGE", "NAME")
_JUDGED = _COLUMNS.index("JUDGED")
_GAP = "   "
_HELP = " q quit  / filter  Enter explain  Esc clear  Tab alerts  arrows PgUp PgDn move"
_STYLES = {
    "critical": "bold red",
    "error": "bold red",
    "fault": "bold red",
    "warning": "bold yellow",
    "info": "cyan",
    "invalid": "red",
    "degraded": "yellow",
    "valid": "green",
}


class TopApp(App[None]):
    """The agent that listens on a socket, live."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #head { height: auto; max-height: 40%; }
    #wrong { height: auto; max-height: 40%; }
    #wrong:focus { background: ansi_default; }
    #models { height: 1fr; scrollbar-size-horizontal: 0; }
    DataTable > .datatable--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    DataTable > .datatable--header { text-style: bold; background: ansi_default; color: ansi_default; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.shown { display: block; }
    #foot { height: auto; dock: bottom; }
    #help { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("slash", "filter", "Filter"),
        Binding("escape", "clear", "Clear"),
    ]

    def __init__(self, socket: Path) -> None:
        """Begin with the first look."""
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.feed = Feed(socket, self._visible)
        self._shown: list[Row] = []
        self._filter = ""

    def compose(self) -> ComposeResult:
        """Health and figures, what is wrong, the models, the filter, the keys."""
        yield Static(id="head", markup=False)
        with VerticalScroll(id="wrong"):
            yield Static(id="wrongs", markup=False)
        yield DataTable(id="models", cursor_type="row", show_row_labels=False)
        with Vertical(id="foot"):
            yield Input(
                id="filter",
                placeholder="words that a row has to hold; Enter keeps them, Esc clears them",
                select_on_focus=False,
            )
            yield Static(_HELP, id="help", markup=False)

    def on_mount(self) -> None:
        """Draw what is known, which is nothing, and begin to ask."""
        self._table.add_columns(*_COLUMNS)
        self._table.focus()
        self.draw()
        self.run_worker(self.feed.follow(self.draw), name="feed")

    def draw(self) -> None:
        """Everything as it is known now."""
        try:
            table = self._table
        except (IndexError, NoMatches):  # it is being closed
            return
        view, main = self.feed.view, self.screen_stack[0]
        self._draw_models(table, view)
        main.query_one("#head", Static).update(Text("\n").join(_head(view, self.size.width, len(self._shown))))
        found = matching(wrongs(view), self._filter)
        pane = main.query_one("#wrong", VerticalScroll)
        pane.display = bool(found)
        if found:
            main.query_one("#wrongs", Static).update(Text("\n").join(_wrong(one) for one in found))

    def on_resize(self) -> None:
        """The figures flow into the width there is."""
        self.draw()

    def on_data_table_row_selected(self, chosen: DataTable.RowSelected) -> None:
        """Enter, or a click on the row of the cursor."""
        if chosen.row_key.value is not None:
            self.push_screen(Details(self.feed, chosen.row_key.value))

    def on_input_changed(self, change: Input.Changed) -> None:
        """The filter holds while it is typed."""
        self._filter = change.value
        self.draw()

    def on_input_submitted(self) -> None:
        """The filter stays, and keys are for the table again."""
        self._input.set_class(bool(self._filter), "shown")
        self._table.focus()

    def action_filter(self) -> None:
        """Type a filter."""
        self._input.add_class("shown")
        self._input.focus()

    def action_clear(self) -> None:
        """No filter any more."""
        self._input.value = ""
        self._input.remove_class("shown")
        self._table.focus()

    @property
    def _table(self) -> "DataTable[Text]":
        return self.screen_stack[0].query_one("#models", DataTable)

    @property
    def _input(self) -> Input:
        return self.screen_stack[0].query_one("#filter", Input)

    def _visible(self) -> Sequence[str]:
        """The ids whose rows are on the screen now."""
        first = int(self._table.scroll_offset.y)
        return [row.id for row in self._shown[first : first + self._table.size.height]]

    def _draw_models(self, table: "DataTable[Text]", view: View) -> None:
        now = datetime.now(UTC)
        wanted = matching(rows(view), self._filter)[:_MOST]
        if wanted == self._shown:
            for model_id in self._visible():
                column = table.ordered_columns[_JUDGED].key
                table.update_cell(model_id, column, Text(age(view.judged.get(model_id), now)), update_width=True)
            return
        before = self._shown[table.cursor_row].id if table.cursor_row < len(self._shown) else None
        self._shown = wanted
        table.clear()
        for row in wanted:
            table.add_row(*_cells(row, age(view.judged.get(row.id), now)), key=row.id)
        if before is not None:
            ids = [row.id for row in wanted]
            table.move_cursor(row=ids.index(before) if before in ids else 0)


def _head(view: View, width: int, shown: int) -> Iterator[Text]:
    yield from _flowing([("", words, style) for words, style in headline(view)], width)
    dim = "dim" if view.gone is not None else ""
    yield from _flowing([(f"{name} ", value, dim) for name, value in summary(view)], width)
    if view.status is not None and shown < len(view.models):
        yield Text(f"{shown} of {len(view.models):,} models", "italic")


def _flowing(pairs: Sequence[tuple[str, str, str]], width: int) -> Iterator[Text]:
    """Names and values with a style each, as many a line as fit on it."""
    line = Text()
    for name, value, style in pairs:
        gap = _GAP if line else ""
        if line and len(line.plain) + len(gap) + len(name) + len(value) > width:
            yield line
            line, gap = Text(), ""
        line.append(gap).append(name, "dim").append(value, style)
    yield line


def _wrong(one: Wrong) -> Text:
    text = Text().append(one.severity, _STYLES.get(one.severity, ""))
    text.append(f" {one.what}", "bold").append(f" {one.since} " if one.since else " ", "dim").append(one.about)
    if one.hint:
        text.append(f"\n  -> {one.hint}", "dim")
    return text


def _cells(row: Row, judged: str) -> Iterator[Text]:
    yield Text(row.state, _STYLES.get(row.state, ""))
    yield Text(judged)
    yield Text(row.alerts, "bold" if row.alerts != "-" else "")
    yield Text(printable(row.id))
    yield Text(row.kind)
    yield Text(row.storage)
    yield Text(row.name)

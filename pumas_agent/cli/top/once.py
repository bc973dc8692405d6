"""`top` where there is no screen: two looks a second apart, printed as text or as one object."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumas_agent.cli.output import print_fields, print_table, stdout
from pumas_agent.cli.top.feed import EVERY_S, Feed
from pumas_agent.cli.top.view import Row, View, age, headline, rows, summary, wrongs

_MODELS = 100


async def look_twice(socket: Path) -> View:
    """A view with rates, and with when the models that are printed were judged.

    Raises:
        PumasError: why the agent does not answer.
    """
    feed = Feed(socket)
    try:
        await feed.look()
        await asyncio.sleep(EVERY_S)
        await feed.look()
        await feed.judged([row.id for row in _printed(feed.view)])
    finally:
        await feed.client.close()
    return feed.view


def as_json(view: View) -> dict[str, Any]:
    """The one object: what `status` says, all figures, rates by the second, and models, wrong ones first."""
    by_id = {model["id"]: model for model in view.models}
    return {
        "status": view.status,
        "figures": view.figures,
        "rates": view.rates,
        "models": [{**by_id[row.id], "validated_at": view.judged.get(row.id)} for row in _printed(view)],
        "models_total": len(view.models),
    }


def print_view(view: View) -> None:
    """What is wrong, the figures, the models."""
    console = stdout()
    print_fields(console, [("health", ", ".join(words for words, _ in headline(view)))])
    found = [(one.what, one.severity, one.about, one.since, one.hint) for one in wrongs(view)]
    if found:
        print_table(console, ("WRONG", "SEVERITY", "ABOUT", "SINCE", "WHAT TO DO"), found, narrow=3, whole=(2,))
    print_fields(console, summary(view))
    if view.models:
        head = ("MODEL", "STATE", "JUDGED", "ALERTS", "TYPE", "STORAGE", "NAME")
        print_table(console, head, _cells(view), narrow=3)


def _cells(view: View) -> Iterator[tuple[str, ...]]:
    now = datetime.now(UTC)
    for row in _printed(view):
        judged = age(view.judged.get(row.id), now)
        yield row.id, row.state, judged, row.alerts, row.kind, row.storage, row.name


def _printed(view: View) -> list[Row]:
    return rows(view)[:_MODELS]

"""`pumas-agent events`: the alerts that stand and the changes of models, and with `--follow` whatever comes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from pumas_agent.cli.output import json_option, print_json, printable
from pumas_agent.cli.session import Session

_TOPICS = ("alerts", "models")
_RECENT = 20
_PAGE = 1000
_INTERRUPTED = 130
_FEED = "model-library-updates:"


@click.command(short_help="Show alerts and changes of models, as they come with -f.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", "cursor", metavar="CURSOR", help="Begin after this position, instead of with what is there.")
@click.option("--topic", "topics", type=click.Choice(_TOPICS), multiple=True, help="Only this one.  [default: both]")
@json_option
@click.pass_obj
def events(session: Session, *, follow: bool, cursor: str | None, topics: Sequence[str], as_json: bool) -> int:
    """Show the alerts that stand and the newest changes of models; with -f, go on with what comes.

    With --json, one object a line. Each has the `cursor` that --since goes on from. When the agent is restarted, -f
    goes on; where something was lost meanwhile, it says so.
    """
    chosen = tuple(topic for topic in _TOPICS if topic in topics) or _TOPICS
    try:
        # What came after its position is sent to a follower by the agent.
        begin = cursor if follow and cursor is not None else _show_what_is(session, chosen, cursor, as_json=as_json)
        if follow:
            for event in _following(session, chosen, begin):
                _show(event, as_json=as_json)
    except KeyboardInterrupt:
        if not follow:
            raise
        return _INTERRUPTED
    return 0


def _show_what_is(session: Session, topics: Sequence[str], cursor: str | None, *, as_json: bool) -> str | None:
    """Print what is there, and give the position right after it."""
    ends: list[str] = []
    parts = cursor.split(",") if cursor is not None else []
    since = next((part for part in parts if part.startswith(_FEED)), None)
    if "alerts" in topics:
        health = session.call("agent.health")
        ends += [health["cursor"]] if health.get("cursor") else []  # an agent of an older version has none
        for alert in health["alerts"]:
            _show(
                {"topic": "alerts", "transition": "standing", "cursor": health.get("cursor"), "alert": alert},
                as_json=as_json,
            )
    if "models" in topics:
        events, end = _changes(session, since, given=cursor is not None)
        ends.append(end)
        for event in events:
            _show(event, as_json=as_json)
    return ",".join(ends) or None


def _changes(session: Session, since: str | None, *, given: bool) -> tuple[list[dict[str, Any]], str]:
    """What changed since a position, or lately; and the position after it."""
    found: list[dict[str, Any]] = []
    if since is None:
        newest = session.call("list_model_library_updates_since")["cursor"]
        if given:
            return found, newest
        since = f"{_FEED}{max(0, int(newest.removeprefix(_FEED)) - _RECENT)}"
    while True:
        feed = session.call("list_model_library_updates_since", cursor=since, limit=_PAGE)
        since = feed["cursor"]
        if feed.get("snapshot_required") and given:
            found.append({"topic": "models", "cursor": since, "snapshot_required": True})
        updates = feed.get("events") or ()
        found += ({"topic": "models", "cursor": update["cursor"], "update": update} for update in updates)
        if len(updates) < _PAGE:
            return found, str(since)


def _following(session: Session, topics: Sequence[str], cursor: str | None) -> Iterator[dict[str, Any]]:
    from pumas_agent.client import AgentClient

    session.call("agent.hello", client="pumas-agent events")  # raises when it is not the agent of `--library`
    for event in AgentClient(session.agent_socket(session.settings())).events(topics, cursor):
        yield event.model_dump(mode="json", exclude={"subscription"})


def _show(event: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json("event", event)
        return
    if event.get("snapshot_required"):
        click.echo(f"{event['topic']}: events were lost; see `pumas-agent {_again(event['topic'])}`")
    elif (alert := event.get("alert")) is not None:
        about = alert["model_id"] or alert["path"] or "the library"
        click.echo(
            f"{event['transition']:<8}  {alert['severity']:<8}  {alert['code']}  {printable(about)}  {alert['since']}"
        )
    else:
        update = event["update"]
        click.echo(f"changed   {update['change_kind']}  {update['fact_family']}  {printable(update['model_id'])}")


def _again(topic: str) -> str:
    return "status" if topic == "alerts" else "list"

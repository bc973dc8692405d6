"""`pumas-agent search`: rows that match a text."""

from typing import Any

import click

from pumas_agent.cli.listing import filter_options, print_rows
from pumas_agent.cli.output import json_option, print_json
from pumas_agent.cli.session import Session


@click.command()
@click.argument("query")
@filter_options
@json_option
@click.pass_obj
def search(session: Session, /, query: str, *, as_json: bool, **filters: Any) -> int:
    """Find models by any word of theirs, best first."""
    page = session.call("search_models", query=query, **filters)
    if as_json:
        print_json("search", page)
    else:
        print_rows(page["models"], page["totalCount"], offset=filters["offset"] or 0)
    return 0

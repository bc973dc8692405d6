"""`pumas-agent web`: the link to the page that the running agent serves."""

import click

from pumas_agent.cli.output import json_option, print_json
from pumas_agent.cli.session import Session
from pumas_agent.contracts.errors import PageNotServed


@click.command(short_help="Print the link to the page of the running agent.")
@json_option
@click.pass_obj
def web(session: Session, *, as_json: bool) -> int:
    """Print the link to the page of the running agent, for the address bar of a browser.

    The link holds the token of the page: whoever has it may do what you may. Each start of the agent makes a new one.
    """
    from pathlib import Path

    from pumas_agent.web import page_link, token_path

    status = session.call("agent.status")
    page, socket = status.get("page"), Path(status["socket"])  # an agent of an older version has none
    if page is None:
        raise PageNotServed(
            f"the agent with pid {status['pid']} serves no page",
            hint="start it with `pumas-agent run --web 127.0.0.1:8451`",
        )
    link = page_link(page, socket)
    if as_json:
        print_json("web", {"url": link, "page": page, "token_file": str(token_path(socket))})
    else:
        click.echo(link)
    return 0

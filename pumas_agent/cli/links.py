"""`pumas-agent links`: the links that were made into applications, what is left of them, and cleaning up."""

import sys

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import json_option, print_fields, print_json, print_table, printable, stdout
from pumas_agent.cli.session import Session


@click.group()
def links() -> None:
    """Links of the library's files in the folders of applications."""


@links.command("list")
@click.argument("model_id", metavar="ID", shell_complete=model_ids)
@json_option
@click.pass_obj
def list_(session: Session, model_id: str, *, as_json: bool) -> int:
    """List where the files of a model are linked to."""
    answer = session.call("get_links_for_model", model_id=model_id)
    if as_json:
        print_json("links-list", answer)
    elif answer["links"]:
        rows = [
            (link["target"], link["link_type"], link["app_id"], link.get("app_version"), link["created_at"])
            for link in answer["links"]
        ]
        print_table(stdout(), ("TARGET", "TYPE", "APP", "VERSION", "MADE"), rows, narrow=3)
    return 0


@links.command()
@json_option
@click.pass_obj
def health(session: Session, *, as_json: bool) -> int:
    """Say which links work. Exits 1 when one does not."""
    answer = session.call("get_link_health")
    if as_json:
        print_json("links-health", answer)
    else:
        print_fields(
            stdout(),
            [
                ("status", answer["status"]),
                ("links", f"{answer['healthy_links']} of {answer['total_links']} work"),
                *(("broken", target) for target in answer["broken_links"]),
                *(("orphaned", target) for target in answer["orphaned_links"]),
                *(("note", warning) for warning in answer["warnings"]),
            ],
        )
    return 0 if answer["status"] == "healthy" else 1


@links.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def clean(session: Session, *, yes: bool, as_json: bool) -> int:
    """Remove links that lead nowhere. A file, or a link that somebody else put there, stays and is forgotten."""
    broken = session.call("get_link_health")["broken_links"]
    if broken and not yes:
        _ask(broken)
    answer = session.call("clean_broken_links")
    if as_json:
        print_json("links-clean", answer)
    else:
        click.echo(f"cleaned {answer['cleaned']}")
    return 0


def _ask(broken: list[str]) -> None:
    """Say what is broken and let the person decide.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they said no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("links clean asks first, and stdin is no terminal; --yes goes without asking")
    for target in broken:
        click.echo(printable(target), err=True)
    click.confirm(f"Clean up {'it' if len(broken) == 1 else f'these {len(broken)}'}?", abort=True, err=True)

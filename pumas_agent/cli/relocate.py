"""`pumas-agent relocate`: a registered bundle is somewhere else now. Shows the plan, and asks before it writes."""

import sys
from pathlib import Path
from typing import Any

import click

from pumas_agent.cli.completion import model_ids
from pumas_agent.cli.output import finding_line, json_option, print_json, printable
from pumas_agent.cli.session import Session, given_path

_SAME = {"proven": "the same bundle", "other": "ANOTHER bundle", "unknown": "not known to be the same"}
_PAGE = 1000


@click.command()
@click.argument("what", metavar="ID|OLD_PREFIX", shell_complete=model_ids)
@click.argument("where", metavar="NEW_PATH|NEW_PREFIX")
@click.option("--all", "everything", is_flag=True, help="Every bundle below OLD_PREFIX: a collection changed disks.")
@click.option("--force", is_flag=True, help="Take what is there although it is not proven to be the same bundle.")
@click.option("--plan", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def relocate(
    session: Session, what: str, where: str, *, everything: bool, force: bool, plan: bool, yes: bool, as_json: bool
) -> int:
    """Say where a registered bundle is now. Its id and everything attached to it stay; no file of it is touched.

    What is there has to be the same bundle, by its content. Exits 1 when one of them is refused.
    """
    moves = _below(session, what, where) if everything else {what: str(given_path(where))}
    plans = [_call(session, model_id, path, force=force, apply=False) for model_id, path in moves.items()]
    possible = [planned for planned in plans if planned["refused"] is None]
    if not as_json:
        _show(plans)
    if not plan and possible:
        if not yes:
            _ask(len(possible))
        done = {
            planned["model_id"]: _call(session, planned["model_id"], planned["new_path"], force=force, apply=True)
            for planned in possible
        }
        plans = [done.get(planned["model_id"], planned) for planned in plans]
    if as_json:
        print_json("relocate", {"relocations": plans})
    elif not plan and possible:
        click.echo(f"relocated {len(possible)} of {len(plans)}")
    elif not plans:
        click.echo(f"no registered bundle lies below {printable(what)}")
    return 0 if len(possible) == len(plans) and plans else 1


def _call(session: Session, model_id: str, path: str, *, force: bool, apply: bool) -> dict[str, Any]:
    return session.call("relocate_external_model", model_id=model_id, new_path=path, force=force, apply=apply)


def _below(session: Session, old: str, new: str) -> dict[str, str]:
    """Of each external bundle below a folder: where it would be below another one."""
    before, after = given_path(old), given_path(new)
    moves: dict[str, str] = {}
    offset = 0
    while True:
        answer = session.call("list_models", storage_kind="external_reference", limit=_PAGE, offset=offset)
        for row in answer["models"]:
            root = Path(row["entry_path"] or "/")
            if root == before or before in root.parents:
                moves[row["id"]] = str(after / root.relative_to(before))
        offset += _PAGE
        if offset >= answer["totalCount"]:
            return moves


def _show(plans: list[dict[str, Any]]) -> None:
    for planned in plans:
        click.echo(printable(planned["model_id"]))
        click.echo(f"  from     {printable(planned['old_path'] or 'nowhere')}")
        click.echo(f"  to       {printable(planned['new_path'])}")
        there = _SAME[planned["same_bundle"]]
        if planned["findings"]:
            there += f", not valid: {planned['findings'][0]['message']}"
        click.echo(f"  {'REFUSED' if planned['refused'] else 'there':<7}  {printable(planned['refused'] or there)}")
        if planned["refused"]:
            for finding in planned["findings"][:1]:
                click.echo(f"           {finding_line(finding)}")
    if any(planned["refused"] and planned["findings"] for planned in plans):
        click.echo("hint: complete what was copied; --force takes what is there although it is another bundle")


def _ask(count: int) -> None:
    """Let the person decide.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they said no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("relocate asks first, and stdin is no terminal; --yes goes without asking")
    click.confirm(f"Relocate {'it' if count == 1 else f'these {count}'}?", abort=True, err=True)

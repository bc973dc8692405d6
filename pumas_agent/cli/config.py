"""`pumas-agent config`: what the settings are and who gave them, and whether a file is right. Writes nothing."""

import json
import os
from pathlib import Path

import click

from pumas_agent.cli.output import json_option, print_json, print_table, printable, stdout
from pumas_agent.cli.session import Session, given_path

_OURS = "PUMAS_AGENT_"


@click.group()
def config() -> None:
    """Show the settings and where each comes from, or check a file."""


@config.command(short_help="Show each setting, its value, and who gave it.")
@json_option
@click.pass_obj
def show(session: Session, *, as_json: bool) -> int:
    """Show each setting, its value, and where it comes from: default, file, environment or flag.

    As a command started here and now would have them; a running agent may have been told something else.
    """
    from pumas_agent.settings import config_path, explain_settings

    settings = explain_settings(session.config, os.environ, session.flags())
    path = config_path(session.config, os.environ)[0]
    if as_json:
        shown = [{"name": one.name, "value": one.value, "source": one.source, "origin": one.origin} for one in settings]
        print_json("config-show", {"path": str(path), "exists": path.is_file(), "settings": shown})
        return 0
    console = stdout()
    console.out(f"file  {printable(path)}{'' if path.is_file() else '  (there is none)'}")
    rows = [(one.name, json.dumps(one.value, ensure_ascii=False), _told(one.source, one.origin)) for one in settings]
    print_table(console, ("SETTING", "VALUE", "FROM"), rows, narrow=3, whole=(1, 2))  # a path is folded, a name never
    return 0


@config.command(short_help="Check a configuration before it is used.")
@click.argument("file", required=False)
@json_option
@click.pass_obj
def check(session: Session, file: str | None, *, as_json: bool) -> int:
    """Check a configuration file; without FILE all that an agent started here would read, environment too.

    A mistake is exit code 78 and a message that names the setting. A running agent takes on a
    reload what is right here.
    """
    from pumas_agent.settings import config_path, load_settings

    named = session.config if file is None else given_path(file)
    environ = {name: value for name, value in os.environ.items() if file is None or not name.startswith(_OURS)}
    load_settings(named, environ, session.flags())
    path = config_path(named, environ)[0]
    exists = Path(path).is_file()
    if as_json:
        print_json("config-check", {"path": str(path), "exists": exists, "valid": True})
    else:
        click.echo(f"{printable(path)}: {'valid' if exists else 'there is none, so the defaults hold'}")
    return 0


def _told(source: str, origin: str) -> str:
    return source if source in {"default", "flag"} else f"{source} {origin}"

"""The program `pumas-agent`: its global options and the list of its commands. Commands import what they need late."""

from pathlib import Path
from typing import Any

import click

from pumas_agent import __version__
from pumas_agent.cli.accept import accept
from pumas_agent.cli.backup import backup, restore
from pumas_agent.cli.classify import classify
from pumas_agent.cli.completion import completion
from pumas_agent.cli.config import config as config_
from pumas_agent.cli.delete import delete
from pumas_agent.cli.demo import demo
from pumas_agent.cli.deps import deps
from pumas_agent.cli.descriptor import descriptor
from pumas_agent.cli.discover import discover
from pumas_agent.cli.doctor import doctor
from pumas_agent.cli.edit import edit
from pumas_agent.cli.events import events
from pumas_agent.cli.explain import explain
from pumas_agent.cli.import_ import adopt, import_
from pumas_agent.cli.links import links
from pumas_agent.cli.listing import list_
from pumas_agent.cli.map import map_
from pumas_agent.cli.metrics import metrics
from pumas_agent.cli.reclassify import duplicates, reclassify
from pumas_agent.cli.reconcile import reconcile
from pumas_agent.cli.register import register
from pumas_agent.cli.reindex import reindex
from pumas_agent.cli.relocate import relocate
from pumas_agent.cli.repair import repair
from pumas_agent.cli.run import run
from pumas_agent.cli.search import search
from pumas_agent.cli.service import service
from pumas_agent.cli.session import Session
from pumas_agent.cli.show import show
from pumas_agent.cli.status import status
from pumas_agent.cli.thaw import thaw
from pumas_agent.cli.top import top
from pumas_agent.cli.unregister import unregister
from pumas_agent.cli.validate import validate
from pumas_agent.cli.verify import verify
from pumas_agent.cli.web import web


class _SomePath(click.Path):
    """A path that is not empty; whether it can be used is for the command to say."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what `--library "$UNSET"` gives: it would mean the working directory."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


_PATH = _SomePath(readable=False, path_type=Path)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=_PATH, help="Settings file.  [env: PUMAS_AGENT_CONFIG]")
@click.option("--library", type=_PATH, help="Root of the library.  [env: PUMAS_AGENT_LIBRARY]")
@click.option("--socket", type=_PATH, help="Socket of the agent.  [env: PUMAS_AGENT_SOCKET]")
@click.version_option(__version__, prog_name="pumas-agent", message="%(prog)s %(version)s")
@click.pass_context
def program(ctx: click.Context, config: Path | None, library: Path | None, socket: Path | None) -> None:
    """Know which diffusion models this machine can run now, and from where.

    Commands talk to the running agent. When none runs, the ones that read open the library read-only, and the ones that
    write take its lock and do the work themselves.

    Exit codes: 0 fine, 1 something is unhealthy, 2 the operation failed, 3 the agent is not running, 64 usage, 69
    socket or library unreachable, 75 another agent owns the library, 77 not permitted, 78 configuration invalid.
    """
    ctx.obj = Session(config, library, socket)


for command in (
    run,
    demo,
    status,
    list_,
    show,
    search,
    explain,
    descriptor,
    discover,
    classify,
    register,
    import_,
    adopt,
    edit,
    relocate,
    accept,
    unregister,
    delete,
    validate,
    verify,
    deps,
    reconcile,
    reindex,
    thaw,
    reclassify,
    duplicates,
    repair,
    backup,
    restore,
    map_,
    links,
    config_,
    service,
    doctor,
    completion,
    events,
    metrics,
    top,
    web,
):
    program.add_command(command)

"""`pumas-agent service`: the files that make the agent a service, shown, written and taken away again.

Owns where they go. Overwrites and removes only what it wrote and nobody changed, and starts nothing unless asked.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pumas_agent.cli.output import json_option, print_json, printable
from pumas_agent.cli.session import Session, given_path
from pumas_agent.contracts.errors import NotPermitted, PumasError


class _ServiceFileRefused(PumasError):
    """A file is in the way that was not written here, or was changed since; or a command of the system failed."""

    code = "service_file_refused"


@dataclass(frozen=True, slots=True)
class _Kind:
    """For which service manager, and whose service."""

    launchd: bool
    system: bool
    on_demand: bool
    folder: Path

    def files(self) -> tuple[str, ...]:
        from pumas_agent.cli.service_files import PLIST, SOCKET, TEMPLATE, UNIT

        if self.launchd:
            return (PLIST,)
        if self.system:
            return (TEMPLATE,)
        return (UNIT, SOCKET) if self.on_demand else (UNIT,)

    def commands(self, *, enable: bool) -> list[list[str]]:
        """What is run after the files were written, or before they are removed."""
        plist = str(self.folder / self.files()[0])
        if self.launchd:
            domain = f"gui/{os.getuid()}"
            return [["launchctl", "bootstrap" if enable else "bootout", domain, plist]]
        systemctl = ["systemctl"] if self.system else ["systemctl", "--user"]
        name = f"pumas-agent@{os.environ.get('SUDO_USER') or 'USER'}" if self.system else self.files()[-1]
        if enable:
            return [[*systemctl, "daemon-reload"], [*systemctl, "enable", "--now", name]]
        return [[*systemctl, "disable", "--now", name]]


_OPTIONS = (
    click.option("--user", "owner", flag_value="user", help="A service of this user.  [default]"),
    click.option("--system", "owner", flag_value="system", help="A template of the system: one instance a user."),
    click.option("--systemd", "manager", flag_value="systemd", help="Units.  [default but on macOS]"),
    click.option("--launchd", "manager", flag_value="launchd", help="A plist.  [default on macOS]"),
    click.option("--on-demand", is_flag=True, help="Also a socket unit: the first client starts the agent."),
    click.option("--directory", metavar="DIR", help="Where the files go, instead of the service manager's own folder."),
)


def _which_service(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def service() -> None:
    """Make the agent a service of systemd or launchd."""


@service.command("print")
@_which_service
@click.option("--executable", metavar="PATH", help="The program, where it will be; else the one that runs now.")
@json_option
@click.pass_obj
def print_(session: Session, /, *, executable: str | None, as_json: bool, **which: Any) -> int:
    """Print the files as `install` would write them. Nothing is written."""
    files = _rendered(session, _kind(**which), executable)
    if as_json:
        print_json("service-print", {"files": [{"name": name, "content": text} for name, text in files.items()]})
        return 0
    for name, text in files.items():
        if len(files) > 1:
            click.echo(f"# --- {name}")
        click.echo(text, nl=False)
    return 0


@service.command(short_help="Write the files, and say how to start the service.")
@_which_service
@click.option("--executable", metavar="PATH", help="The program; else the one that runs now.")
@click.option("--force", is_flag=True, help="Overwrite a file that was not written here, or was changed since.")
@click.option("--enable", is_flag=True, help="Start the service too, now and from now on.")
@json_option
@click.pass_obj
def install(
    session: Session, /, *, executable: str | None, force: bool, enable: bool, as_json: bool, **which: Any
) -> int:
    """Write the files for this machine, with absolute paths, and say which command starts the service.

    What the environment says of library and socket is taken along; the rest belongs into the configuration file.
    """
    from pumas_agent.cli.service_files import is_ours, marked

    kind = _kind(**which)
    if enable and kind.system:
        raise click.UsageError("--enable cannot say for which user; run the command that install prints")
    files = {kind.folder / name: marked(text) for name, text in _rendered(session, kind, executable).items()}
    with _permission(kind.folder):
        strange = [path for path in files if os.path.lexists(path) and (path.is_symlink() or not is_ours(_read(path)))]
        if strange and not force:
            raise _ServiceFileRefused(
                f"{strange[0]} was not written by this command, or was changed since; it is left alone",
                hint="move your changes into a drop-in (systemctl edit), or overwrite it with --force",
            )
        for path, text in files.items():
            _write(path, text)
    commands = kind.commands(enable=True)
    if enable:
        _run(commands)
    if as_json:
        next_commands = [] if enable else [" ".join(command) for command in commands]
        print_json("service-install", {"written": [str(path) for path in files], "next": next_commands})
        return 0
    for path in files:
        click.echo(f"wrote {printable(path)}")
    if not enable:
        click.echo(f"next: {' && '.join(' '.join(command) for command in commands)}")
    for name in _left_behind():
        click.echo(f"note: {name} is not in the service's environment; set it in the configuration file", err=True)
    return 0


@service.command()
@_which_service
@json_option
def uninstall(*, as_json: bool, **which: Any) -> int:
    """Remove the files that `install` wrote. One that was changed since is left, and so are library and settings."""
    from pumas_agent.cli.service_files import SOCKET, is_ours

    kind = _kind(**which)
    names = [*kind.files(), *([SOCKET] if not kind.launchd and not kind.system and not kind.on_demand else [])]
    there = [path for path in (kind.folder / name for name in names) if os.path.lexists(path)]
    removed, left = [], []
    with _permission(kind.folder):
        for path in there:
            if path.is_symlink() or not is_ours(_read(path)):
                left.append(path)
                continue
            path.unlink()
            removed.append(path)
    stop = [" ".join(command) for command in kind.commands(enable=False)] if removed else []
    if as_json:
        found = {"removed": [str(path) for path in removed], "left": [str(path) for path in left], "next": stop}
        print_json("service-uninstall", found)
        return 1 if left else 0
    for path in removed:
        click.echo(f"removed {printable(path)}")
    for path in left:
        click.echo(f"left {printable(path)}: it was not written by this command, or was changed since", err=True)
    if stop:
        click.echo(f"next, if it runs: {stop[0]}")
    elif not left:
        click.echo("nothing was installed")
    return 1 if left else 0


def _kind(*, owner: str | None, manager: str | None, on_demand: bool, directory: str | None) -> _Kind:
    launchd = manager == "launchd" or (manager is None and sys.platform == "darwin")
    system = owner == "system"
    if launchd and system:
        raise click.UsageError("launchd: only --user; the agent is never root")
    if on_demand and (launchd or system):
        raise click.UsageError("--on-demand is for the user's service of systemd")
    if directory is not None:
        folder = given_path(directory)
    elif launchd:
        folder = Path.home() / "Library" / "LaunchAgents"
    elif system:
        folder = Path("/etc/systemd/system")
    else:
        given = os.environ.get("XDG_CONFIG_HOME", "")
        folder = (Path(given) if given.startswith("/") else Path.home() / ".config") / "systemd" / "user"
    return _Kind(launchd, system, on_demand, folder)


def _rendered(session: Session, kind: _Kind, executable: str | None) -> dict[str, str]:
    from pumas_agent.cli import service_files

    program = _program() if executable is None else [str(given_path(executable))]
    if kind.system:
        config = ["--config", str(given_path(str(session.config)))] if session.config else []
        return {service_files.TEMPLATE: service_files.system_template([*program, *config])}
    words, socket = _places(session)
    if kind.launchd:
        log = Path.home() / "Library" / "Logs" / "pumas-agent.log"
        return {service_files.PLIST: service_files.launchd_plist([*program, *words], log)}
    files = {service_files.UNIT: service_files.user_unit([*program, *words])}
    if kind.on_demand:
        files[service_files.SOCKET] = service_files.socket_unit(socket)
    return files


def _program() -> list[str]:
    """The program that runs now, by an absolute path."""
    started = Path(sys.argv[0]).absolute()
    if started.name == "pumas-agent" and os.access(started, os.X_OK):
        return [str(started)]
    return [sys.executable, "-m", "pumas_agent"]


def _places(session: Session) -> tuple[list[str], Path | None]:
    """The options that make the service use what a command started here would use; and the socket when it is named.

    What stands in the configuration file is left to it.
    """
    from pumas_agent.settings import config_path, explain_settings

    path, named = config_path(session.config, os.environ)
    settings = {one.name: one for one in explain_settings(session.config, os.environ, session.flags())}
    words = ["--config", str(path.absolute())] if named or path.is_file() else []
    library, socket = settings["library.root"], settings["socket.path"]
    if library.source != "file":
        words += ["--library", library.value]
    if socket.source in {"environment", "flag"}:
        words += ["--socket", socket.value]
    return words, None if socket.source == "default" else Path(socket.value)


def _left_behind() -> list[str]:
    return sorted(name for name in os.environ if name.startswith("PUMAS_AGENT_") and "__" in name)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _write(path: Path, text: str) -> None:
    """All of it or nothing, never through a link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(path)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


@contextmanager
def _permission(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise NotPermitted(f"{folder} cannot be written: {error.strerror}", hint="for --system use sudo") from error
    except OSError as error:
        raise _ServiceFileRefused(f"{error.filename or folder}: {error.strerror}") from error


def _run(commands: list[list[str]]) -> None:
    for command in commands:
        program = shutil.which(command[0])
        if program is None:
            raise _ServiceFileRefused(f"{command[0]} is not installed", hint="leave --enable out")
        done = subprocess.run([program, *command[1:]], check=False)  # noqa: S603 - our own words
        if done.returncode:
            raise _ServiceFileRefused(f"{' '.join(command)} failed with exit code {done.returncode}")

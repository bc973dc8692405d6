"""The token of the page: a secret of one run of the agent, in a file that its user alone can read.

Owns that file, beside the socket, and nothing else. The token is in no log, no message and no command line.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from pumas_agent.contracts.errors import NotPermitted, PageNotServed, SettingsInvalid

_BYTES = 32
_LONGEST = 256


def token_path(socket: Path) -> Path:
    """Where the token is kept of the agent that listens on a socket."""
    return socket.with_name(f"{socket.name}.token")


class TokenFile:
    """A new token and its file, which exists until `remove`."""

    def __init__(self, path: Path) -> None:
        """Make both; what is left of an earlier run is replaced.

        Raises:
            SettingsInvalid: the file cannot be made.
        """
        self.token = secrets.token_urlsafe(_BYTES)
        self._path = path
        made = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with suppress(FileNotFoundError):
                made.unlink()
            file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, self.token.encode())
                found = os.fstat(file)
            finally:
                os.close(file)
            made.replace(path)
        except OSError as error:
            with suppress(OSError):
                made.unlink(missing_ok=True)
            raise SettingsInvalid(
                f"cannot keep the token of the page in {path}: {error.strerror}", hint="check the folder of socket.path"
            ) from error
        self._file = found.st_dev, found.st_ino

    def remove(self) -> None:
        """Remove the file, if it is still ours."""
        with suppress(FileNotFoundError):
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._file:
                self._path.unlink()


def page_link(page: str, socket: Path) -> str:
    """The URL of the page with its token in the fragment, which a browser sends to nobody.

    Args:
        page: the URL without it, as the agent says.
        socket: of that agent.

    Raises:
        NotPermitted: the token is another user's to read, or the file could have been made by another user.
        PageNotServed: there is no token.
    """
    path = token_path(socket)
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PageNotServed(f"{path} is gone", hint="start the agent again, with --web") from None
    except OSError as error:
        raise NotPermitted(f"{path} cannot be read: {error.strerror}", hint="ask as the agent's user") from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or os.geteuid() not in {found.st_uid, 0}:
            raise NotPermitted(f"{path} is not a file of yours", hint="ask as the agent's user")
        token = os.read(file, _LONGEST).decode("ascii", "replace")
    finally:
        os.close(file)
    return f"{page}#token={token}"

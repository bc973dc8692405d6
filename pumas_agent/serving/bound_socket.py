"""The socket file: where it may be made, with which permissions, and when it may be removed.

Also takes a socket that a service manager made and listens on (socket activation); its file is that one's to remove.
Never accepts a connection: the bound socket is handed to the server. The caller holds the library lock.
"""

import errno
import os
import socket
import stat
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from pumas_agent.contracts.errors import LibraryBusy, SettingsInvalid
from pumas_agent.contracts.rpc import SOCKET_PATH_MAX
from pumas_agent.serving.peers import find_group, identify_peer

_PROBE_S = 1.0
_FIRST_INHERITED = 3
"""The descriptor of the first socket a service manager hands over: SD_LISTEN_FDS_START."""


class BoundSocket:
    """A socket bound to a path, and which file there is ours: none when another one made it."""

    def __init__(self, path: Path, bound: socket.socket, *, made_here: bool = True) -> None:
        self.path = path
        self.socket = bound
        self._file = _file_at(path) if made_here else None

    def unlink(self) -> None:
        """Remove the file, if it is still ours. While the socket is open, no other file can have its inode."""
        if self._file is not None and self.socket.fileno() >= 0 and _file_at(self.path) == self._file:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the file, if it is still ours, and close the socket. May be called again."""
        self.unlink()
        self.socket.close()


def bind_socket(path: Path, *, group: str = "") -> BoundSocket:
    """Bind a stream socket: 0600 in a folder made 0700, or with a group 0660 in one made 0750.

    A socket that is left over (nobody answers on it) is replaced. A folder that was there keeps its mode.

    Raises:
        LibraryBusy: an agent listens there.
        SettingsInvalid: the path cannot be used, or the group does not exist.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise SettingsInvalid(
            f"the socket's path has more than {SOCKET_PATH_MAX} bytes: {path}", hint="set a shorter socket.path"
        )
    gid = find_group(group)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made: socket.socket | BoundSocket = bound
    umask = os.umask(0o077)
    try:
        _make_folder(path.parent, gid)
        _remove_leftover(path)
        bound.bind(str(path))
        made = BoundSocket(path, bound)
        # Nobody can connect before the server listens, so the mode is right in time.
        if gid is not None:
            os.chown(path, -1, gid)
        path.chmod(0o600 if gid is None else 0o660)
    except OSError as error:
        made.close()
        raise SettingsInvalid(
            f"cannot make the socket {path}: {error.strerror or error}", hint="check socket.path and its folder"
        ) from error
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(umask)
    return made


def inherited_socket(environ: MutableMapping[str, str]) -> BoundSocket | None:
    """The socket that the service manager of this process handed over with LISTEN_FDS; None when it did not.

    The variables are taken out of the environment: no process of ours inherits anything of it.

    Raises:
        SettingsInvalid: it handed over something else than one listening Unix stream socket with a path.
    """
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count in {"", "0"}:
        return None
    if count != "1":
        raise _not_ours(f"LISTEN_FDS is {count}", "the agent takes one socket: one ListenStream= in one socket unit")
    try:
        os.set_inheritable(_FIRST_INHERITED, False)
        handed = socket.socket(fileno=_FIRST_INHERITED)
    except OSError as error:
        raise _not_ours(f"descriptor {_FIRST_INHERITED}: {error.strerror}", "check the socket unit") from error
    name = handed.getsockname() if handed.family == socket.AF_UNIX else ""
    if handed.type != socket.SOCK_STREAM or not isinstance(name, str) or not name.startswith("/"):
        handed.close()
        raise _not_ours(
            "it is no Unix stream socket with a path", "ListenStream= takes the absolute path of the socket"
        )
    if not handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        handed.close()
        raise _not_ours("nobody listens on it", "the socket unit must have Accept=no")
    return BoundSocket(Path(name), handed, made_here=False)


def _not_ours(what: str, hint: str) -> SettingsInvalid:
    return SettingsInvalid(f"the socket that was handed over by LISTEN_FDS cannot be used: {what}", hint=hint)


def _make_folder(folder: Path, gid: int | None) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise SettingsInvalid(
                f"everyone may replace files in {folder}, so any program could pose as the agent",
                hint=f"chmod o-w {folder}, or set another socket.path",
            ) from None
        return
    if gid is not None:
        os.chown(folder, -1, gid)
        folder.chmod(0o750)


def _remove_leftover(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SettingsInvalid(f"{path} is no socket, so it is left alone", hint="move it, or set another socket.path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
            pid = identify_peer(probe).pid
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            pid = 0  # its queue of connections is full: somebody listens, and is busy
    raise LibraryBusy(
        f"an agent{f' (pid {pid})' if pid else ''} already listens on {path}",
        hint="stop it, or set another socket.path",
    )


def _file_at(path: Path) -> tuple[int, int] | None:
    with suppress(FileNotFoundError):
        found = path.lstat()
        return found.st_dev, found.st_ino
    return None

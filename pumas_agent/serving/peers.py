"""Who is at the other end of a Unix socket, and what they may do.

Owns the one place that differs by operating system: how the kernel is asked. Never trusts a word of the peer itself.
"""

import grp
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.contracts.rpc import Access

_SO_PEERGROUPS = 59  # linux/asm-generic/socket.h; the socket module has no name for it
_GROUPS_BYTES = 1024  # the most that socket.getsockopt reads: 256 groups
_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid (man 7 unix)
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # <sys/un.h> of macOS
_XUCRED = struct.Struct("IIh2x16I")  # struct xucred of macOS: version, uid, number of groups, groups


@dataclass(frozen=True, slots=True)
class Peer:
    """A process as the kernel knows it, when it connected. `pid` is 0 when the system does not tell."""

    uid: int
    gid: int
    pid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """Who may do what. The agent's own user and root: everything. Members of the group, if one is set: read."""

    own_uid: int
    group_gid: int | None = None

    @classmethod
    def of_this_process(cls, group: str = "") -> Self:
        """The policy of an agent that runs as this process's user, with `socket.group` as given.

        Raises:
            SettingsInvalid: there is no such group.
        """
        return cls(os.geteuid(), find_group(group))

    def allowed(self, peer: Peer) -> frozenset[Access]:
        """What the peer may do; nothing at all means it is not even listened to."""
        if peer.uid in (self.own_uid, 0):
            return frozenset(Access)
        if self.group_gid is not None and (peer.gid == self.group_gid or self.group_gid in peer.groups):
            return frozenset({Access.READ})
        return frozenset()


def find_group(group: str) -> int | None:
    """The number of a group; None for the empty name, which means no group.

    Raises:
        SettingsInvalid: there is no such group, or this system cannot tell a member from a stranger.
    """
    if not group:
        return None
    if identify_peer is _assume_owner:
        raise SettingsInvalid(
            f"socket.group is {group!r}, but this system cannot tell who connects", hint="leave socket.group empty"
        )
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise SettingsInvalid(
            f"socket.group is {group!r}, and there is no such group", hint="create it, or leave socket.group empty"
        ) from None


def _identify_on_linux(connection: socket.socket) -> Peer:
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        raw = b""  # more groups than can be read: only the first counts, which is fewer rights, never more
    return Peer(uid, gid, pid, frozenset(struct.unpack(f"{len(raw) // 4}I", raw)))


def _identify_on_macos(connection: socket.socket) -> Peer:
    raw = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
    _version, uid, count, *groups = _XUCRED.unpack(raw)
    pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    return Peer(uid, groups[0], pid, frozenset(groups[:count]))


def _assume_owner(_connection: socket.socket) -> Peer:
    # Cannot tell who calls. The socket's mode lets only its owner and root in, and `find_group` refuses to widen it.
    return Peer(os.geteuid(), os.getegid(), 0, frozenset())


_BY_PLATFORM: dict[str, Callable[[socket.socket], Peer]] = {
    "linux": _identify_on_linux,
    "darwin": _identify_on_macos,
}
identify_peer = _BY_PLATFORM.get(sys.platform, _assume_owner)
"""The process that connected (or, on a connecting socket, the one that listens). Raises OSError when it is gone."""

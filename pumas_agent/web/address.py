"""Where the page is served: an address of this machine alone, and the names by which a browser may ask for it.

Never opens a socket. An address that others could reach is refused when it is read.
"""

import ipaddress
from dataclasses import dataclass
from typing import Self

_HIGHEST_PORT = 65535
_HTTP_PORT = 80
"""Browsers leave it out of what they send."""


@dataclass(frozen=True, slots=True)
class LoopbackAddress:
    """A host and a port of the loopback interface. Port 0 means any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `127.0.0.1:8451`, `localhost:8451` or `[::1]:8451`.

        Raises:
            ValueError: it is no such address; the message says why.
        """
        host, found, port = text.rpartition(":")
        if not found or not port.isascii() or not port.isdecimal() or int(port) > _HIGHEST_PORT:
            raise ValueError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:8451")
        bracketed = host.startswith("[") and host.endswith("]")
        host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(
                f"{host!r} is no address of the loopback interface: use 127.0.0.1, [::1] or localhost"
            ) from None
        if not address.is_loopback or (address.version == 6) != bracketed:  # noqa: PLR2004  the version of IP
            raise ValueError(
                f"{text!r} is not on the loopback interface, so others could reach it: use 127.0.0.1:{port},"
                " and a tunnel from other machines"
            )
        return cls(str(address), int(port))

    @property
    def is_ipv6(self) -> bool:
        """Whether a socket for it is one of IPv6."""
        return ":" in self.host

    @property
    def authority(self) -> str:
        """As it stands in a URL."""
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Of the page, without its token."""
        return f"http://{self.authority}/"

    @property
    def names(self) -> frozenset[str]:
        """What the `Host` of a request may be. A name of somebody else's that leads here is none of them."""
        hosts = {f"[{self.host}]" if self.is_ipv6 else self.host, "127.0.0.1", "[::1]", "localhost"}
        named = {f"{host}:{self.port}" for host in hosts}
        return frozenset(named | hosts if self.port == _HTTP_PORT else named)

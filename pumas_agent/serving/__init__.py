"""The Unix socket: framing, peers, limits, methods."""

from pumas_agent.serving.bound_socket import BoundSocket, bind_socket, inherited_socket
from pumas_agent.serving.limits import Limits
from pumas_agent.serving.peers import Peer, PeerPolicy
from pumas_agent.serving.registry import Answer, Handler, Registry, Request, find_handler, parse_params
from pumas_agent.serving.server import RpcServer

__all__ = [
    "Answer",
    "BoundSocket",
    "Handler",
    "Limits",
    "Peer",
    "PeerPolicy",
    "Registry",
    "Request",
    "RpcServer",
    "bind_socket",
    "find_handler",
    "inherited_socket",
    "parse_params",
]

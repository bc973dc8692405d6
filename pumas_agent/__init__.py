"""pumas-agent: what the model library holds, and what may be executed now, told over a Unix socket."""

__version__ = "0.1.0"

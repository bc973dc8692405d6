"""The composition root: builds the parts, starts and stops them in order."""

from pumas_agent.agent.local import call_locally, require_owner
from pumas_agent.agent.process import run_agent
from pumas_agent.agent.service import Agent

__all__ = ["Agent", "call_locally", "require_owner", "run_agent"]

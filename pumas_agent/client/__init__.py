"""What a runtime imports: a blocking and an asyncio client of the agent's socket.

Depends on the contracts only. Never reads the library: what may be executed is what the agent says at that moment.

    with AgentClient() as agent:
        pipeline = load_pipeline(agent.descriptor("diffusion/acme/whole"))
"""

from pumas_agent.client.asynchronous import AsyncAgentClient
from pumas_agent.client.blocking import AgentClient
from pumas_agent.client.pipelines import load_pipeline
from pumas_agent.client.wire import ListFilters, OnProgress

__all__ = ["AgentClient", "AsyncAgentClient", "ListFilters", "OnProgress", "load_pipeline"]

"""What may be done to a registered asset: judge it again and commit the verdict, or forget it."""

from pumas_agent.upkeep.refresh import Judge, Refresher
from pumas_agent.upkeep.removal import unregister
from pumas_agent.upkeep.verdict import Verdict

__all__ = ["Judge", "Refresher", "Verdict", "unregister"]

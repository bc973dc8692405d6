"""What may be done to a registered asset: judge it again and commit the verdict, or forget it."""

from pumas_agent.upkeep.refresh import Freshness, Judge, NothingProven, Refresher
from pumas_agent.upkeep.removal import unregister
from pumas_agent.upkeep.verdict import Verdict

__all__ = ["Freshness", "Judge", "NothingProven", "Refresher", "Verdict", "unregister"]

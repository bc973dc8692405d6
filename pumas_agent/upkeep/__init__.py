"""What may be done to a registered asset: judge it again and commit the verdict, or forget it."""

from pumas_agent.upkeep.absences import AbsencePolicy, Absences
from pumas_agent.upkeep.adoption import QUIET_S, WRITTEN_NOW, Adopter
from pumas_agent.upkeep.announcer import Announcer
from pumas_agent.upkeep.deletion import delete, empty_trash
from pumas_agent.upkeep.duplicates import find_duplicates
from pumas_agent.upkeep.editing import edit
from pumas_agent.upkeep.reclassification import reclassify
from pumas_agent.upkeep.record_keeper import RecordKeeper
from pumas_agent.upkeep.refresh import Freshness, Judge, NothingProven, Refresher
from pumas_agent.upkeep.relocation import Relocator
from pumas_agent.upkeep.removal import unregister
from pumas_agent.upkeep.sameness import accept
from pumas_agent.upkeep.settling import Holds
from pumas_agent.upkeep.verdict import Verdict
from pumas_agent.upkeep.verification import Verifier

__all__ = [
    "QUIET_S",
    "WRITTEN_NOW",
    "AbsencePolicy",
    "Absences",
    "Adopter",
    "Announcer",
    "Freshness",
    "Holds",
    "Judge",
    "NothingProven",
    "RecordKeeper",
    "Refresher",
    "Relocator",
    "Verdict",
    "Verifier",
    "accept",
    "delete",
    "edit",
    "empty_trash",
    "find_duplicates",
    "reclassify",
    "unregister",
]

"""One diffusers directory, read-only: what is it, is it whole, has it changed, is it the same one."""

from pumas_agent.bundles.explained import explained
from pumas_agent.bundles.explanations import EXPLANATIONS
from pumas_agent.bundles.findings import FindingCode
from pumas_agent.bundles.fingerprint import StatSignature
from pumas_agent.bundles.identity import identity_of
from pumas_agent.bundles.look import Look, look
from pumas_agent.bundles.policy import Depth, ExtraPipeline, Policy
from pumas_agent.bundles.validator import validate
from pumas_agent.bundles.workers import JudgePool

__all__ = [
    "EXPLANATIONS",
    "Depth",
    "ExtraPipeline",
    "FindingCode",
    "JudgePool",
    "Look",
    "Policy",
    "StatSignature",
    "explained",
    "identity_of",
    "look",
    "validate",
]

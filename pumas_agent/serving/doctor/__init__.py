"""Whether the machine, the library and the agent are as they have to be. Reads only; repairs nothing."""

from pumas_agent.serving.doctor.examination import Doctor, Examine, nobody_to_examine
from pumas_agent.serving.doctor.patient import AgentFacts, Patient

__all__ = ["AgentFacts", "Doctor", "Examine", "Patient", "nobody_to_examine"]

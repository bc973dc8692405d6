"""What a runtime may execute now, and from where: a descriptor, or a refusal."""

from pumas_agent.execution.resolver import DescriptorResolver, require_contract_version

__all__ = ["DescriptorResolver", "require_contract_version"]

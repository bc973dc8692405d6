"""From a descriptor to a loaded pipeline: which arguments diffusers gets, and what is refused.

Imports diffusers and torch when it is called, which the optional extra `diffusers` installs. Loads from the place that
the descriptor names and from nowhere else: never from a primary file, never from the network.
"""

import importlib
from typing import Any

from pumas_agent.contracts.bundles import SecurityTier
from pumas_agent.contracts.descriptor import EXECUTION_CONTRACT_VERSION, ModelExecutionDescriptor
from pumas_agent.contracts.errors import DescriptorNotUsable
from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat


def load_pipeline(
    descriptor: ModelExecutionDescriptor,
    *,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    **options: Any,
) -> Any:
    """Load the diffusers bundle that a descriptor describes, in the variant and dtype it is stored in.

    Args:
        descriptor: just given by the agent: it is true at that moment.
        allow_pickle: load weights that are pickles, which can run any code.
        trust_remote_code: let the bundle bring code of its own.
        options: further arguments of `from_pretrained`; they win over what the descriptor says.

    Returns:
        An instance of `descriptor.pipeline_class`.

    Raises:
        DescriptorNotUsable: it is of another version, of no bundle, not valid, asks for trust that was not given, or
            names a class or a dtype that the installed libraries have not.
        ImportError: diffusers or torch is not installed.
    """
    _require_understood(descriptor)
    _require_trust(descriptor, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    diffusers = importlib.import_module("diffusers")
    pipeline = getattr(diffusers, descriptor.pipeline_class or "", None)
    if pipeline is None:
        raise DescriptorNotUsable(
            f"the installed diffusers has no {descriptor.pipeline_class}", hint="update diffusers in this runtime"
        )
    return pipeline.from_pretrained(descriptor.entry_path, **(_arguments(descriptor) | options))


def _require_understood(descriptor: ModelExecutionDescriptor) -> None:
    version = descriptor.execution_contract_version
    if version != EXECUTION_CONTRACT_VERSION:
        raise DescriptorNotUsable(
            f"the descriptor of {descriptor.model_id} is of version {version}, this client understands"
            f" {EXECUTION_CONTRACT_VERSION}",
            hint="update the older of agent and client",
        )
    if descriptor.bundle_format is not BundleFormat.DIFFUSERS_DIRECTORY or not descriptor.pipeline_class:
        raise DescriptorNotUsable(
            f"{descriptor.model_id} is no diffusers bundle", hint="a file model is loaded by the backend it recommends"
        )
    if descriptor.validation_state is not AssetValidationState.VALID:
        raise DescriptorNotUsable(f"the descriptor says that {descriptor.model_id} is not valid")


def _require_trust(descriptor: ModelExecutionDescriptor, *, allow_pickle: bool, trust_remote_code: bool) -> None:
    if descriptor.security_tier is not SecurityTier.SAFE and not allow_pickle:
        raise DescriptorNotUsable(
            f"weights of {descriptor.model_id} are or may be pickles, which can run any code",
            hint="allow_pickle=True loads them, if you trust whoever made them",
        )
    if descriptor.requires_custom_code and not trust_remote_code:
        raise DescriptorNotUsable(
            f"{descriptor.model_id} brings code of its own",
            hint="trust_remote_code=True runs it, if you trust whoever made it",
        )


def _arguments(descriptor: ModelExecutionDescriptor) -> dict[str, Any]:
    arguments: dict[str, Any] = {"local_files_only": True}
    if descriptor.load_variant is not None:
        arguments["variant"] = descriptor.load_variant
    if descriptor.load_dtype is not None:
        dtype = getattr(importlib.import_module("torch"), descriptor.load_dtype, None)
        if dtype is None:
            raise DescriptorNotUsable(
                f"the installed torch has no {descriptor.load_dtype}", hint="update torch in this runtime"
            )
        arguments["torch_dtype"] = dtype
    if descriptor.security_tier is SecurityTier.SAFE:
        arguments["use_safetensors"] = True  # diffusers would fall back to pickles
    if descriptor.requires_custom_code:
        arguments["trust_remote_code"] = True
    return arguments

"""What is said about one bundle: findings, the component manifest, its weights, and the report that holds them."""

from enum import StrEnum

from pydantic import Field

from pumas_agent.contracts.model import Contract


class AssetValidationError(Contract):
    """One thing that is wrong with an asset now.

    `path` is relative to the bundle root; null for the root itself and for the record.
    """

    code: str
    message: str
    path: str | None = None

    @property
    def sort_key(self) -> tuple[str, str, str]:
        """Findings are sorted by (path, code), so that the same disk always gives the same record."""
        return (self.path or "", self.code, self.message)


class ComponentState(StrEnum):
    """What stands at a component's place."""

    PRESENT = "present"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    PATH_ESCAPE = "path_escape"


class BundleComponent(Contract):
    """One component of the manifest, as model_index.json names it."""

    name: str
    relative_path: str
    source_library: str | None
    class_name: str | None
    state: ComponentState


class SecurityTier(StrEnum):
    """What a runtime trusts when it loads the weights."""

    SAFE = "safe"
    PICKLE = "pickle"
    UNKNOWN = "unknown"


class ComponentWeights(Contract):
    """The weights of one component that a runtime would load, by their headers."""

    component: str
    files: tuple[str, ...] = Field(description="Relative to the bundle root; of shards all.")
    tier: SecurityTier
    size_bytes: int = Field(ge=0, description="Of the files together.")
    tensors: int | None = Field(description="How many; null for pickles, which are not opened.")
    parameters: dict[str, int] | None = Field(
        description="How many numbers, by the dtype they are stored in (`F16`, `F32` …); null for pickles."
    )


class BundleReport(Contract):
    """What one look at a bundle found. Same bytes on disk, same report."""

    root: str = Field(description="The canonical root that was judged; as asked when it does not exist.")
    pipeline_class: str | None = None
    task: str | None = Field(
        default=None, description="What the pipeline class does, `text-to-image` for one; null for a class not known."
    )
    components: tuple[BundleComponent, ...] = ()
    findings: tuple[AssetValidationError, ...] = Field(
        default=(), description="Fatal: any of these and the bundle is not valid."
    )
    notices: tuple[AssetValidationError, ...] = Field(
        default=(), description="Worth knowing; the bundle is valid all the same."
    )
    weights: tuple[ComponentWeights, ...] = Field(
        default=(), description="One for each component whose weights are whole, in the variant that loads."
    )
    weight_variants: tuple[str, ...] | None = Field(
        default=None,
        description="Variants complete on disk, the default being the empty string; null when not examined.",
    )
    load_variant: str | None = Field(
        default=None, description="The variant a runtime must ask for; null when none is needed."
    )
    load_dtype: str | None = Field(
        default=None, description="The dtype most of the weights are stored in (`float16` …); null when not known."
    )
    security_tier: SecurityTier = Field(
        default=SecurityTier.UNKNOWN,
        description="`pickle` when any weight a runtime would load is a pickle; `unknown` when not examined.",
    )
    requires_custom_code: bool = Field(default=False, description="It brings Python code of its own that has to run.")
    size_bytes: int = Field(default=0, ge=0, description="Sum of the regular files under the root, links not followed.")
    identity: str | None = Field(
        default=None,
        description="Digest of index, configs, weight headers, sizes and sampled tensor data; null without any.",
    )

    @property
    def is_valid(self) -> bool:
        """No fatal finding."""
        return not self.findings

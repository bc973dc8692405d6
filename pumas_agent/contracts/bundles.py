"""What is said about one bundle: findings, the component manifest, and the report that holds both."""

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
    def sort_key(self) -> tuple[str, str]:
        """Findings are sorted by (path, code), so that the same disk always gives the same record."""
        return (self.path or "", self.code)


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


class BundleReport(Contract):
    """What one look at a bundle found. Same bytes on disk, same report."""

    root: str = Field(description="The canonical root that was judged; as asked when it does not exist.")
    pipeline_class: str | None = None
    components: tuple[BundleComponent, ...] = ()
    findings: tuple[AssetValidationError, ...] = Field(
        default=(), description="Fatal: any of these and the bundle is not valid."
    )
    notices: tuple[AssetValidationError, ...] = Field(
        default=(), description="Worth knowing; the bundle is valid all the same."
    )
    size_bytes: int = Field(default=0, ge=0, description="Sum of the regular files under the root, links not followed.")
    identity: str | None = Field(
        default=None,
        description="Digest of index, configs, weight headers, sizes and sampled tensor data; null without any.",
    )

    @property
    def is_valid(self) -> bool:
        """No fatal finding."""
        return not self.findings

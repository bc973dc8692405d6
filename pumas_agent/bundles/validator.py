"""Owns the verdict on a bundle: the table of rules, run in order, each reporting everything it finds.

Never raises for what is on disk, and never changes it.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pumas_agent.bundles.components import judge_component
from pumas_agent.bundles.findings import FindingCode, escaped, finding
from pumas_agent.bundles.model_index import MODEL_INDEX, ModelIndex, is_supported_pipeline, read_model_index
from pumas_agent.bundles.walk import Tree, walk
from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent, BundleReport

_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the rules look at: a readable directory, its tree, its index, and the place of each component."""

    root: Path
    tree: Tree
    index: ModelIndex
    places: tuple[tuple[BundleComponent, AssetValidationError | None], ...]


Rule = Callable[[Bundle], Iterator[AssetValidationError]]


def tree_is_bounded(bundle: Bundle) -> Iterator[AssetValidationError]:
    """At most 20,000 entries on eight levels."""
    if bundle.tree.overflow is not None:
        yield finding(FindingCode.FILE_TOO_LARGE, f"the bundle has {bundle.tree.overflow}: this is not one pipeline")


def index_is_sound(bundle: Bundle) -> Iterator[AssetValidationError]:
    """model_index.json can be read, is a JSON object and names a pipeline."""
    yield from bundle.index.findings


def pipeline_is_supported(bundle: Bundle) -> Iterator[AssetValidationError]:
    """The pipeline is a text-to-image one."""
    pipeline_class = bundle.index.pipeline_class
    if pipeline_class is not None and not is_supported_pipeline(pipeline_class):
        message = f"{pipeline_class} is not a text-to-image pipeline"
        yield finding(FindingCode.UNSUPPORTED_PIPELINE, message, MODEL_INDEX)


def components_are_in_place(bundle: Bundle) -> Iterator[AssetValidationError]:
    """Each component that the index names is there, readable, and inside the bundle."""
    yield from (problem for _, problem in bundle.places if problem is not None)


RULES: tuple[Rule, ...] = (
    tree_is_bounded,
    index_is_sound,
    pipeline_is_supported,
    components_are_in_place,
)


def validate(root: Path) -> BundleReport:
    """Everything that is wrong with the bundle at `root` now; no finding means valid. Reads, never raises."""
    return judge(walk(root))


def judge(tree: Tree) -> BundleReport:
    """As `validate`, for a tree that was walked already."""
    try:
        root = Path(os.path.realpath(tree.root, strict=True))
    except ValueError:
        return _rootless(tree.root, FindingCode.PATH_NOT_FOUND, f"{tree.root!s:.1000} is no path")
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return _rootless(tree.root, FindingCode.PATH_NOT_FOUND, f"{tree.root} does not exist")
        return _rootless(tree.root, FindingCode.COMPONENT_UNREADABLE, f"{tree.root} cannot be read: {error.strerror}")
    if not root.is_dir():
        return _rootless(root, FindingCode.PATH_NOT_DIRECTORY, f"{root} is not a directory")
    if not os.access(root, os.R_OK | os.X_OK):
        return _rootless(root, FindingCode.COMPONENT_UNREADABLE, f"{root} cannot be read: Permission denied")
    index = read_model_index(root)
    bundle = Bundle(root, tree, index, tuple(judge_component(root, entry) for entry in index.components))
    findings = [problem for rule in RULES for problem in rule(bundle)]
    return BundleReport(
        root=escaped(str(root)),
        pipeline_class=index.pipeline_class,
        components=tuple(component for component, _ in bundle.places),
        findings=tuple(sorted(findings, key=lambda problem: problem.sort_key)),
        size_bytes=tree.size_bytes,
    )


def _rootless(root: Path, code: FindingCode, message: str) -> BundleReport:
    return BundleReport(root=escaped(str(root)), findings=(finding(code, message),))

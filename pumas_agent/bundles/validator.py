"""Owns the verdict on a bundle: the tables of rules, run in order, each reporting everything it finds.

Never raises for what is on disk, and never changes it.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from pumas_agent.bundles.bundle import Bundle, Rule, Unusable, without_duplicates
from pumas_agent.bundles.components import COMPONENT_RULES, components_in, manifest_of, place_of_component
from pumas_agent.bundles.config_values import CONFIG_VALUE_RULES
from pumas_agent.bundles.configs import CONFIG_RULES
from pumas_agent.bundles.entries import ENTRY_RULES, component_entries
from pumas_agent.bundles.findings import FindingCode, Problem, escaped, fatal, finding
from pumas_agent.bundles.fits import FIT_RULES
from pumas_agent.bundles.leftovers import LEFTOVER_RULES
from pumas_agent.bundles.model_index import read_model_index
from pumas_agent.bundles.pipeline import PIPELINE_RULES
from pumas_agent.bundles.policy import Depth, Policy
from pumas_agent.bundles.schedules import SCHEDULE_RULES
from pumas_agent.bundles.settings import SETTING_RULES
from pumas_agent.bundles.structure import STRUCTURE_RULES, manifest
from pumas_agent.bundles.tables import PipelineFacts, tables_with
from pumas_agent.bundles.tokenizers import TOKENIZER_RULES
from pumas_agent.bundles.walk import Tree, walk
from pumas_agent.bundles.weights import examine
from pumas_agent.bundles.widths import WIDTH_RULES
from pumas_agent.contracts.bundles import AssetValidationError, BundleReport

MAX_FINDINGS, MAX_NOTICES = 1000, 100
"""Of one code; more are counted."""
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def tree_is_bounded(bundle: Bundle) -> Iterator[Problem]:
    """At most 20,000 entries on eight levels."""
    if bundle.tree.overflow is not None:
        yield fatal(FindingCode.FILE_TOO_LARGE, f"the bundle has {bundle.tree.overflow}: this is not one pipeline")


def index_is_readable(bundle: Bundle) -> Iterator[Problem]:
    """model_index.json is a file, can be read, and is JSON."""
    if bundle.index.problem is not None:
        yield bundle.index.problem


GENERAL_RULES: tuple[Rule, ...] = (tree_is_bounded, index_is_readable)

CONTENT_RULES: tuple[Rule, ...] = (
    *PIPELINE_RULES,
    *ENTRY_RULES,
    *COMPONENT_RULES,
    *CONFIG_RULES,
    *SETTING_RULES,
    *CONFIG_VALUE_RULES,
    *SCHEDULE_RULES,
    *TOKENIZER_RULES,
    *FIT_RULES,
    *WIDTH_RULES,
    *LEFTOVER_RULES,
)
"""With what `weights.examine` says, everything that decides whether diffusers loads a bundle and draws well."""


def validate(root: Path, *, policy: Policy | None = None, variant: str | None = None) -> BundleReport:
    """Everything that is wrong with the bundle at `root` now; no finding means valid. Reads, never raises.

    Args:
        root: the directory with the model_index.json.
        policy: what the operator decided; by default everything is looked at, and bundled code is refused.
        variant: the weights to judge, as a runtime names them (`fp16`); None for those that load.
    """
    return judge(walk(root), policy or Policy(), variant=variant)


def judge(tree: Tree, policy: Policy, *, variant: str | None = None) -> BundleReport:
    """As `validate`, for a tree that was walked already."""
    root, problem = _root_of(tree)
    if problem is not None:
        return BundleReport(root=escaped(str(root)), findings=(problem,))
    extra = {
        name: PipelineFacts(name, told.task, told.required, told.optional)
        for name, told in policy.extra_pipelines.items()
    }
    bundle = Bundle(root, tree, read_model_index(root), policy, tables_with(extra))
    report = BundleReport(
        root=escaped(str(root)),
        pipeline_class=None if bundle.index.pipeline_class is None else escaped(bundle.index.pipeline_class),
        task=bundle.facts.task if bundle.facts else None,
        size_bytes=tree.size_bytes,
    )
    if policy.depth is Depth.STRUCTURE or tree.overflow is not None:
        return _structure(bundle, report)
    return _content(bundle, report, variant)


def _structure(bundle: Bundle, report: BundleReport) -> BundleReport:
    problems = [problem for rule in (*GENERAL_RULES, *STRUCTURE_RULES) for problem in _said(rule, bundle)]
    components = tuple(component for component, _ in manifest(bundle))
    return _with_problems(report.model_copy(update={"components": components}), problems)


def _content(bundle: Bundle, report: BundleReport, variant: str | None) -> BundleReport:
    bundle.entries = tuple(component_entries(bundle))
    bundle.places = tuple(place_of_component(bundle, entry) for entry in bundle.entries)
    bundle.components = tuple(components_in(bundle, bundle.places))
    weights = examine(bundle, variant)
    problems = [problem for rule in (*GENERAL_RULES, *CONTENT_RULES) for problem in _said(rule, bundle)]
    custom = any(problem.finding.code == FindingCode.CUSTOM_CODE for problem in problems)
    changes = {
        "components": manifest_of(bundle.places),
        "weights": weights.components,
        "weight_variants": weights.variants,
        "load_variant": weights.load_variant,
        "load_dtype": weights.load_dtype,
        "security_tier": weights.tier,
        "requires_custom_code": custom,
    }
    return _with_problems(report.model_copy(update=changes), [*problems, *weights.problems])


def _said(rule: Rule, bundle: Bundle) -> Iterator[Problem]:
    try:
        yield from rule(bundle)
    except Unusable as unusable:
        yield unusable.problem


def _with_problems(report: BundleReport, problems: Iterable[Problem]) -> BundleReport:
    ordered = without_duplicates(problems)
    findings = [problem.finding for problem in ordered if problem.fatal]
    notices = [problem.finding for problem in ordered if not problem.fatal]
    bounded = {"findings": _bounded(findings, MAX_FINDINGS), "notices": _bounded(notices, MAX_NOTICES)}
    return report.model_copy(update=bounded)


def _bounded(said: list[AssetValidationError], limit: int) -> tuple[AssetValidationError, ...]:
    by_code = sorted(said, key=lambda one: one.code)  # stable: within a code the order stays
    kept: list[AssetValidationError] = []
    for code, group in groupby(by_code, key=lambda one: one.code):
        same = list(group)
        kept += same[:limit]
        if len(same) > limit:
            kept.append(finding(FindingCode(code), f"and {len(same) - limit} more of these"))
    return tuple(sorted(kept, key=lambda one: one.sort_key))


def _root_of(tree: Tree) -> tuple[Path, AssetValidationError | None]:
    """The canonical root, and why it cannot be looked into."""
    given = tree.root
    try:
        root = Path(os.path.realpath(given, strict=True))
    except ValueError:
        return given, finding(FindingCode.PATH_NOT_FOUND, f"{given!s:.1000} is no path")
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return given, finding(FindingCode.PATH_NOT_FOUND, f"{given} does not exist")
        return given, finding(FindingCode.COMPONENT_UNREADABLE, f"{given} cannot be read: {error.strerror}")
    if not root.is_dir():
        return root, finding(FindingCode.PATH_NOT_DIRECTORY, f"{root} is not a directory")
    if not os.access(root, os.R_OK | os.X_OK):
        return root, finding(FindingCode.COMPONENT_UNREADABLE, f"{root} cannot be read: Permission denied")
    return root, None

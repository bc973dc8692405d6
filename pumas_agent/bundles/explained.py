"""A report by component, each finding with what it means and what a person can do about it. Looks at no disk."""

from collections.abc import Iterable

from pumas_agent.bundles.explanations import EXPLANATIONS
from pumas_agent.bundles.findings import FindingCode
from pumas_agent.contracts.bundles import AssetValidationError, BundleComponent, BundleReport
from pumas_agent.contracts.explanation import BundleExplanation, ExplainedComponent, ExplainedFinding

_BY_CODE = {code.value: explanation for code, explanation in EXPLANATIONS.items()}


def explained(report: BundleReport) -> BundleExplanation:
    """The report by component; what is of no single one stands before them."""
    findings = [_with_meaning(finding, notice=False) for finding in report.findings]
    notices = [_with_meaning(finding, notice=True) for finding in report.notices]
    weights = {weight.component: weight for weight in report.weights}
    components = tuple(
        ExplainedComponent(
            **component.model_dump(),
            findings=_of(component, findings),
            notices=_of(component, notices),
            weights=weights.get(component.name),
        )
        for component in report.components
    )
    return BundleExplanation(
        root=report.root,
        valid=report.is_valid,
        pipeline_class=report.pipeline_class,
        task=report.task,
        size_bytes=report.size_bytes,
        load_variant=report.load_variant,
        load_dtype=report.load_dtype,
        security_tier=report.security_tier,
        findings=_of_none(report.components, findings),
        notices=_of_none(report.components, notices),
        components=components,
    )


def _with_meaning(finding: AssetValidationError, *, notice: bool) -> ExplainedFinding:
    known = FindingCode(finding.code) if finding.code in _BY_CODE else None
    return ExplainedFinding(
        **finding.model_dump(),
        severity="notice" if notice else "fatal",
        meaning=EXPLANATIONS[known].meaning if known else None,
        hint=EXPLANATIONS[known].hint if known else None,
    )


def _is_of(component: BundleComponent, finding: AssetValidationError) -> bool:
    place = finding.path or ""
    return place == component.name or place.startswith(f"{component.name}/")


def _of(component: BundleComponent, findings: Iterable[ExplainedFinding]) -> tuple[ExplainedFinding, ...]:
    return tuple(finding for finding in findings if _is_of(component, finding))


def _of_none(
    components: tuple[BundleComponent, ...], findings: Iterable[ExplainedFinding]
) -> tuple[ExplainedFinding, ...]:
    return tuple(finding for finding in findings if not any(_is_of(component, finding) for component in components))

"""Registration of a diffusers directory that stays where it is (contracts: `import_external_diffusers_directory`).

Owns the order of the checks and what each refusal says. A refusal leaves nothing behind; nothing under the source is
ever written. The id is the registry folder's path, so it depends on the names given and on nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from pumas_agent.bundles import Look
from pumas_agent.contracts.bundles import AssetValidationError, SecurityTier
from pumas_agent.contracts.imports import ExternalBundleSpec, ImportStatus, ModelImportResult
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.importing.record import MODEL_TYPE, external_record
from pumas_agent.importing.source import source_in_time
from pumas_agent.library import Library, normalize_name

MODEL_EXISTS = "model_exists"
SOURCE_REGISTERED = "source_registered"
BUNDLE_SETTLING = "bundle_settling"
EXISTS_TEXT = "Model already exists at this location"


class ExternalRegistrar:
    """Registers external bundles, one at a time: two callers with one name or one source cannot both win."""

    def __init__(self, library: Library, judge: Callable[[Path], Awaitable[Look]]) -> None:
        self._library = library
        self._judge = judge
        self._one_at_a_time = asyncio.Lock()

    async def register(self, spec: ExternalBundleSpec) -> ModelImportResult:
        """Register a bundle.

        The same source under the same id again is a success that changes nothing. A bundle that is not valid is refused
        with its findings unless `allow_unhealthy`.

        Raises:
            InvalidParams: the source may not be registered; see `canonical_source` for the codes.
            AssetUnresponsive: the filesystem that holds the source does not answer in time.
            LibraryUnwritable: the record could not be written; nothing is left behind.
        """
        source = await source_in_time(spec.source_path, self._library.layout.root)
        async with self._one_at_a_time:
            cleaned_name = normalize_name(spec.official_name)
            model_id = f"{MODEL_TYPE}/{normalize_name(spec.family)}/{cleaned_name}"
            if answer := self._known(spec, model_id, source):
                return answer
            look = await self._judge(source)
            findings = look.report.findings or _settling(look)
            if findings and not spec.allow_unhealthy:
                return _refused(spec, None, "; ".join(finding.message for finding in findings), findings)
            report = look.report.model_copy(update={"findings": findings})
            record = external_record(
                spec,
                model_id=model_id,
                cleaned_name=cleaned_name,
                source=source,
                look=replace(look, report=report),
                now=utc_now(),
            )
            try:
                await self._library.write(lambda store: store.create(model_id, record))
            except FileExistsError:
                return _exists(spec, model_id)
            return _result(spec, model_id, ImportStatus.REGISTERED, tier=report.security_tier, findings=findings)

    def _known(self, spec: ExternalBundleSpec, model_id: str, source: Path) -> ModelImportResult | None:
        """The answer when the id or the source is in the library already."""
        for entry in self._library.catalog.bundles():
            if entry.is_external and entry.bundle_root == str(source):
                if entry.id == model_id:
                    return _result(spec, model_id, ImportStatus.ALREADY_REGISTERED, findings=entry.validation_errors)
                text = f"{source} is already registered as {entry.id}"
                return _refused(spec, entry.id, text, (_finding(SOURCE_REGISTERED, text),))
        return _exists(spec, model_id) if self._library.catalog.get(model_id) else None


def _settling(look: Look) -> tuple[AssetValidationError, ...]:
    """A bundle that is being copied is not valid yet, however it looked each time."""
    text = "the bundle is being written right now; register it when that is done"
    return (_finding(BUNDLE_SETTLING, text),) if look.settling else ()


def _exists(spec: ExternalBundleSpec, model_id: str) -> ModelImportResult:
    return _refused(spec, model_id, EXISTS_TEXT, (_finding(MODEL_EXISTS, f"{EXISTS_TEXT}: {model_id}"),))


def _finding(code: str, message: str) -> AssetValidationError:
    return AssetValidationError(code=code, message=message)


def _refused(
    spec: ExternalBundleSpec, model_id: str | None, error: str, findings: tuple[AssetValidationError, ...]
) -> ModelImportResult:
    return _result(spec, model_id, ImportStatus.REFUSED, error=error, findings=findings)


def _result(
    spec: ExternalBundleSpec,
    model_id: str | None,
    status: ImportStatus,
    *,
    error: str | None = None,
    tier: SecurityTier | None = None,
    findings: tuple[AssetValidationError, ...] = (),
) -> ModelImportResult:
    return ModelImportResult(
        path=spec.source_path,
        success=status is not ImportStatus.REFUSED,
        model_id=model_id,
        status=status,
        error=error,
        security_tier=tier,
        findings=findings,
    )

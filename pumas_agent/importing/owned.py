"""Models that become the library's own: copied into it, or taken as they lie in it.

Owns the order of the checks and what each refusal says. A copy is made in the library's staging folder and becomes a
model by one rename; a failure, a refusal or a cancellation leaves nothing behind. The source is only read.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from pumas_agent.bundles import Look
from pumas_agent.contracts.bundles import SecurityTier
from pumas_agent.contracts.errors import (
    AssetUnresponsive,
    InvalidParams,
    LibraryInsideSource,
    NotEnoughSpace,
    PathNotAbsolute,
    PathNotDirectory,
)
from pumas_agent.contracts.imports import ImportStatus, InPlaceImportSpec, ModelImportResult, ModelImportSpec
from pumas_agent.contracts.timestamps import utc_now
from pumas_agent.importing.copier import HashedFile, copy_files
from pumas_agent.importing.external import EXISTS_TEXT, MODEL_EXISTS
from pumas_agent.importing.formats import FileFormat, format_of, tier_of
from pumas_agent.importing.model_source import (
    PICKLE_UNACKNOWLEDGED,
    ModelSource,
    Refused,
    look_at,
    refused,
    require_acknowledged,
)
from pumas_agent.importing.model_types import TypeResolution, family_of, resolve_type, type_of_hint
from pumas_agent.importing.owned_record import Placed, bundle_record, file_record
from pumas_agent.importing.record import DEFAULT_FAMILY, MODEL_TYPE
from pumas_agent.in_time import in_time
from pumas_agent.library import Library, normalize_name

LOOK_S = 60.0
"""For listing a source and reading the first bytes of its files."""
SPARE_BYTES = 64 * 1024 * 1024
"""What a copy leaves free: the library has to go on writing its records."""

Progress = Callable[[str, int, int | None, str], None]
log = structlog.get_logger(__name__)


class OwnedImporter:
    """Imports models into the library."""

    def __init__(self, library: Library, judge: Callable[[Path], Awaitable[Look]]) -> None:
        self._library = library
        self._judge = judge
        self._reserved: set[str] = set()

    # --- by copy -----------------------------------------------------------------------------------------------

    async def copy(self, spec: ModelImportSpec, progress: Progress) -> ModelImportResult:
        """Copy a model into the library.

        Raises:
            PathNotAbsolute, InvalidParams: the path or the type means nothing here.
            ImportFailed: the source cannot be read, changed meanwhile, or the disk has no room.
            AssetUnresponsive: the filesystem that holds it does not answer in time.
            LibraryUnwritable: the record could not be written.
        """
        path = _given(spec.path)
        try:
            source = await self._look(lambda: self._look_outside(path), path)
            require_acknowledged(source.tier, acknowledged=spec.security_acknowledged)
            if source.is_bundle:
                self._require_healthy(await self._judge(path), allowed=spec.allow_unhealthy)
            kind = _kind_of(spec.model_type, spec.official_name, source)
            await self._library.read(lambda _: self._require_free(_id_of(kind.model_type, spec)))
            with self._place(kind.model_type, spec) as placed:
                return await self._copy(spec, placed, source, kind, progress)
        except Refused as refusal:
            return _refused(spec.path, refusal)

    async def _copy(
        self, spec: ModelImportSpec, placed: Placed, source: ModelSource, kind: TypeResolution, progress: Progress
    ) -> ModelImportResult:
        await asyncio.to_thread(self._require_space, source.size)
        staged = await self._library.write(lambda store: store.places.stage())
        try:
            hashed = await copy_files(
                source.files, staged, lambda done: progress("copying", done, source.size, "bytes")
            )
            self._require_same_tier(hashed, acknowledged=spec.security_acknowledged)
            progress("indexing", 0, None, "models")
            directory = self._library.layout.root / placed.model_id
            if source.is_bundle:
                look = await self._judge(staged)
                self._require_healthy(look, allowed=spec.allow_unhealthy)
                record = bundle_record(spec, placed, hashed, look, root=str(directory), now=utc_now())
            else:
                record = file_record(spec, placed, hashed, _primary(hashed), kind, now=utc_now())
            # Once the commit has begun it is waited for: cancelled or not, the model is there or it is not.
            commit = asyncio.ensure_future(
                self._library.write(lambda store: store.places.adopt_staged(placed.model_id, staged, record))
            )
            await asyncio.shield(commit)
        except FileExistsError as error:
            raise refused(MODEL_EXISTS, str(error), model_id=placed.model_id) from error
        finally:
            await asyncio.shield(self._library.write(lambda store: store.places.discard_staged(staged)))
        log.info("model.imported", model_id=placed.model_id, files=len(source.files), size_bytes=source.size)
        return ModelImportResult(
            path=spec.path,
            success=True,
            model_id=placed.model_id,
            status=ImportStatus.IMPORTED,
            error=None,
            security_tier=source.tier,
        )

    def _require_space(self, size: int) -> None:
        facts = os.statvfs(self._library.layout.root)
        free = facts.f_bavail * facts.f_frsize
        if free < size + SPARE_BYTES:
            raise NotEnoughSpace(
                f"the copy needs {size:,} bytes and {SPARE_BYTES:,} to spare; the library's disk has {free:,} free",
                hint=f"free space on the disk that holds {self._library.layout.root}",
            )

    # --- in place ----------------------------------------------------------------------------------------------

    async def take(self, spec: InPlaceImportSpec, progress: Progress) -> ModelImportResult:
        """Make a folder that lies in the library a model; a folder that is one stays as it is.

        Args:
            spec: what is known of it; the rest is told from its path and its files.
            progress: told the bytes that were hashed.

        Raises:
            InvalidParams: the path is no folder below the library's root.
            ImportFailed: it cannot be read, or changed meanwhile.
            LibraryUnwritable: the record could not be written.
        """
        directory = await asyncio.to_thread(self._own_folder, spec.path)
        model_id = self._library.layout.model_id(directory)
        if await asyncio.to_thread((directory / "metadata.json").exists):
            await self._library.write(lambda store: store.index_one(model_id))
            return _taken(spec.path, model_id, ImportStatus.ALREADY_REGISTERED, None)
        known = self._library.catalog.get(model_id)
        had = await self._library.read(lambda index: index.signatures_of([model_id]))
        if known is not None and (had or not known.needs_no_record):
            message = f"{model_id} is a model whose metadata.json is gone"
            return _refused(spec.path, refused("metadata_gone", message, model_id=model_id))
        try:
            source = await self._look(lambda: look_at(directory, partials=False), directory)
            require_acknowledged(source.tier, acknowledged=spec.security_acknowledged)
            look = await self._judge(directory) if source.is_bundle else None
            if look is not None:
                self._require_healthy(look, allowed=spec.allow_unhealthy)
            hashed = await copy_files(source.files, None, lambda done: progress("hashing", done, source.size, "bytes"))
            named = _named_by_path(model_id, spec, source)
            if look is not None:
                record = bundle_record(*named, hashed, look, root=str(directory), now=utc_now())
            else:
                kind = _kind_of(spec.model_type or model_id.split("/")[0], named[0].official_name, source)
                record = file_record(*named, hashed, _primary(hashed), kind, now=utc_now())
            commit = asyncio.ensure_future(
                self._library.write(lambda store: store.places.adopt_in_place(model_id, record))
            )
            await asyncio.shield(commit)
        except FileExistsError as error:
            return _refused(spec.path, refused(MODEL_EXISTS, str(error)))
        except Refused as refusal:
            return _refused(spec.path, refusal)
        log.info("model.adopted", model_id=model_id, files=len(source.files), size_bytes=source.size)
        return _taken(spec.path, model_id, ImportStatus.IMPORTED, source.tier)

    def _own_folder(self, given: str) -> Path:
        path = _given(given)
        root = self._library.layout.root
        try:
            relative = path.resolve().relative_to(root)
        except (ValueError, OSError, RuntimeError):
            raise InvalidParams(
                f"{given} does not lie in the library {root}", hint="import_model copies what lies elsewhere"
            ) from None
        directory = self._library.layout.directory(relative.as_posix())
        if not directory.is_dir():
            raise PathNotDirectory(f"{directory} is no folder", hint="name the folder that holds the model's files")
        return directory

    # --- both --------------------------------------------------------------------------------------------------

    async def _look(self, look: Callable[[], ModelSource], path: Path) -> ModelSource:
        """Look at a source, on a thread that can be left to a filesystem that hangs."""
        try:
            return await in_time(look, LOOK_S, name="import-look")
        except TimeoutError:
            raise AssetUnresponsive(
                f"{path} did not answer within {LOOK_S:g} s",
                hint="check the filesystem that holds it: a network or external drive may have gone away",
            ) from None

    def _look_outside(self, path: Path) -> ModelSource:
        root, source = self._library.layout.root, path.resolve()
        if source == root or root in source.parents:
            raise InvalidParams(
                f"{path} lies in the library already", hint="import_model_in_place makes it a model where it is"
            )
        if source in root.parents:
            raise LibraryInsideSource(f"the library {root} lies inside {path}", hint="import the model's own folder")
        return look_at(path)

    def _require_free(self, model_id: str) -> None:
        """Refuse a place where something stands; for the reading thread."""
        if self._library.layout.directory(model_id).exists():
            raise _exists(model_id)

    @contextmanager
    def _place(self, model_type: str, spec: ModelImportSpec) -> Iterator[Placed]:
        """The id of a new model, kept for one import until that ends."""
        model_id = _id_of(model_type, spec)
        if model_id in self._reserved or self._library.catalog.get(model_id) is not None:
            raise _exists(model_id)
        self._reserved.add(model_id)
        try:
            yield Placed(model_id, model_id.rpartition("/")[2], spec.family, "import")
        finally:
            self._reserved.discard(model_id)

    @staticmethod
    def _require_healthy(look: Look, *, allowed: bool) -> None:
        if look.report.findings and not allowed:
            raise Refused(*look.report.findings)

    @staticmethod
    def _require_same_tier(hashed: Sequence[HashedFile], *, acknowledged: bool) -> None:
        """What was looked at is what was copied: a file exchanged in between may not bring a pickle in."""
        for file in hashed:
            require_acknowledged(tier_of(format_of(file.head, file.name)), acknowledged=acknowledged)


def _given(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise PathNotAbsolute(
            f"not an absolute path: {text!r}", hint="the command line makes paths absolute; a program has to"
        )
    return path


def _primary(hashed: Sequence[HashedFile]) -> tuple[HashedFile, FileFormat]:
    known = [(file, found) for file in hashed if (found := format_of(file.head, file.name)) is not FileFormat.UNKNOWN]
    return min(known, key=lambda one: (-one[0].size, one[0].name))


def _kind_of(hint: str | None, name: str, source: ModelSource) -> TypeResolution:
    if source.is_bundle:
        return TypeResolution(MODEL_TYPE, "diffusers-directory-import", 1.0)
    if hint is not None and (named := type_of_hint(hint)) is not None and named != "unknown":
        return TypeResolution(named, confidence=1.0)
    return resolve_type(name, source.config, source.primary)


def _named_by_path(model_id: str, spec: InPlaceImportSpec, source: ModelSource) -> tuple[ModelImportSpec, Placed]:
    """What a folder in the library is called: by who asks, else by its path `type/family/name`."""
    parts = model_id.split("/")
    name = spec.official_name or parts[-1].replace("_", " ")
    family = spec.family or (parts[-2] if len(parts) > 1 else None) or family_of(source.config, source.primary)
    asked = ModelImportSpec(
        path=spec.path,
        family=family or DEFAULT_FAMILY,
        official_name=name,
        model_type=spec.model_type,
        repo_id=spec.repo_id,
        pipeline_tag=spec.pipeline_tag,
        tags=spec.tags,
    )
    came = "download" if spec.repo_id else "orphan_recovery"
    return asked, Placed(model_id, parts[-1], asked.family, came)


def _id_of(model_type: str, spec: ModelImportSpec) -> str:
    return f"{model_type}/{normalize_name(spec.family)}/{normalize_name(spec.official_name)}"


def _exists(model_id: str) -> Refused:
    return refused(MODEL_EXISTS, EXISTS_TEXT, model_id=model_id)


def _refused(path: str, refusal: Refused) -> ModelImportResult:
    codes = [finding.code for finding in refusal.findings]
    return ModelImportResult(
        path=path,
        success=False,
        model_id=refusal.model_id,
        status=ImportStatus.REFUSED,
        error=refusal.error,
        security_tier=SecurityTier.PICKLE if codes == [PICKLE_UNACKNOWLEDGED] else None,
        findings=refusal.findings,
    )


def _taken(path: str, model_id: str, status: ImportStatus, tier: SecurityTier | None) -> ModelImportResult:
    return ModelImportResult(path=path, success=True, model_id=model_id, status=status, error=None, security_tier=tier)

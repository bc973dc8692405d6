"""The methods that bring models into the library, change what it says of them, and take them out.

Part of the registry that `methods` makes. Checks nothing that the contracts check, and blocks on nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pumas_agent.contracts.classification import ClassificationReport, ClassifyParams
from pumas_agent.contracts.errors import PumasError
from pumas_agent.contracts.imports import (
    AdoptionReport,
    DeleteParams,
    DeleteResult,
    EditParams,
    EditResult,
    ImportBatchParams,
    ImportBatchResult,
    ImportStatus,
    InPlaceImportSpec,
    ModelImportResult,
    ModelImportSpec,
)
from pumas_agent.contracts.rpc import NoParams
from pumas_agent.contracts.upkeep import (
    DuplicateReport,
    Reclassification,
    ReclassifyParams,
    RecordRepair,
    RepairParams,
)
from pumas_agent.serving.parts import Parts
from pumas_agent.serving.registry import Answer, Request
from pumas_agent.upkeep import delete, edit, find_duplicates, reclassify


class LibraryMethods:
    """The functions behind these methods."""

    def __init__(self, parts: Parts, forget: Callable[[str], Awaitable[None]]) -> None:
        """`forget` is told of a model that is gone."""
        self._parts = parts
        self._forget = forget

    def calls(self) -> dict[str, Callable[[Any, Request], Answer | Awaitable[Answer]]]:
        """Each by its name."""
        return {
            "classify_model_import_paths": self.classify,
            "import_model": self.import_model,
            "import_models_batch": self.import_batch,
            "import_model_in_place": self.import_in_place,
            "adopt_orphan_models": self.adopt,
            "delete_model_with_cascade": self.delete,
            "update_model": self.edit,
            "reclassify_model": self.reclassify,
            "repair_model_record": self.repair,
            "list_duplicate_models": self.duplicates,
        }

    async def classify(self, params: ClassifyParams, _request: Request) -> ClassificationReport:
        """Looked at on threads, bundles judged as bundles are."""
        return await self._parts.classifier.classify(params.paths)

    async def import_model(self, spec: ModelImportSpec, request: Request) -> ModelImportResult:
        """Copied by a process of its own."""
        return await self._parts.importer.copy(spec, request.progress)

    async def import_batch(self, params: ImportBatchParams, request: Request) -> ImportBatchResult:
        """One after the other: they share a disk. What fails is a result like any other."""
        results = [await self._one_of_many(spec, request) for spec in params.specs]
        imported = sum(result.success for result in results)
        return ImportBatchResult(imported=imported, failed=len(results) - imported, results=tuple(results))

    async def _one_of_many(self, spec: ModelImportSpec, request: Request) -> ModelImportResult:
        try:
            return await self._parts.importer.copy(spec, request.progress)
        except PumasError as error:
            return ModelImportResult(
                path=spec.path,
                success=False,
                model_id=None,
                status=ImportStatus.REFUSED,
                error=error.message,
                security_tier=None,
            )

    async def import_in_place(self, spec: InPlaceImportSpec, request: Request) -> ModelImportResult:
        """Hashed by a process of its own."""
        return await self._parts.importer.take(spec, request.progress)

    async def adopt(self, _params: NoParams, request: Request) -> AdoptionReport:
        """Of the whole library."""
        return await self._parts.adopter.adopt(request.progress)

    async def delete(self, params: DeleteParams, _request: Request) -> DeleteResult:
        """Its links in applications go first, while it can be told what they are of; then it, then what is known."""
        plan = await delete(self._parts.library, params.model_copy(update={"apply": False}))
        links = len((await self._parts.mapping.links_of(params.model_id)).links)
        if not params.apply:
            return plan.model_copy(update={"links": links})
        await self._parts.mapping.forget_model(params.model_id)
        result = await delete(self._parts.library, params)
        await self._forget(params.model_id)
        return result.model_copy(update={"links": links})

    async def edit(self, params: EditParams, _request: Request) -> EditResult:
        """The row follows in the same commit."""
        return await edit(self._parts.library, params)

    async def reclassify(self, params: ReclassifyParams, _request: Request) -> Reclassification:
        """Links in applications would lead to nowhere: they go before it. What was known of the old id goes after."""
        plan = await reclassify(self._parts.library, params.model_copy(update={"apply": False}))
        moves = plan.refused is None and plan.new_model_id != plan.model_id
        links = len((await self._parts.mapping.links_of(params.model_id)).links) if moves else 0
        if not params.apply:
            return plan.model_copy(update={"links": links})
        if links:
            await self._parts.mapping.forget_model(params.model_id)
        result = await reclassify(self._parts.library, params)
        if result.applied and moves:
            await self._forget(result.model_id)
        return result.model_copy(update={"links": links})

    async def duplicates(self, _params: NoParams, _request: Request) -> DuplicateReport:
        """From the index."""
        catalog = self._parts.library.catalog
        return await self._parts.library.read(lambda index: find_duplicates(index, catalog.entries()))

    async def repair(self, params: RepairParams, _request: Request) -> RecordRepair:
        """The next look, which the write wakes, clears the alert."""
        library = self._parts.library
        await library.read(lambda _: library.layout.directory(params.model_id))
        return await library.write(lambda store: store.repair(params.model_id, apply=params.apply))

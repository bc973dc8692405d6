"""Models that may be there twice. Only says so: nothing is removed on a guess, and an external one never at all."""

from collections import defaultdict

from pumas_agent.contracts.upkeep import DuplicateGroup, DuplicateModel, DuplicateReport
from pumas_agent.library import CatalogEntry, IndexReader, json_object

_SHA256 = "sha256"


def find_duplicates(index: IndexReader, entries: list[CatalogEntry]) -> DuplicateReport:
    """Models of one repository and artifact, and models whose main file is the same. For the reading thread."""
    by_repository: dict[tuple[str, str], list[CatalogEntry]] = defaultdict(list)
    by_content: dict[str, list[CatalogEntry]] = defaultdict(list)
    facts = {row.id: json_object(row.metadata_json) for row in index.rows()}
    for entry in sorted(entries, key=lambda entry: entry.id):
        known = facts.get(entry.id, {})
        repo_id = known.get("repo_id")
        if isinstance(repo_id, str) and repo_id:
            artifact = known.get("selected_artifact_id")
            by_repository[repo_id.lower(), artifact if isinstance(artifact, str) else ""].append(entry)
        if digest := dict(entry.hashes).get(_SHA256):
            by_content[digest].append(entry)
    groups = [
        DuplicateGroup(
            reason=reason, value=value, models=tuple(_model(entry, facts.get(entry.id, {})) for entry in found)
        )
        for reason, value, found in (
            *(("same_repository", repo_id, found) for (repo_id, _), found in sorted(by_repository.items())),
            *(("same_content", digest, found) for digest, found in sorted(by_content.items())),
        )
        if len(found) > 1
    ]
    return DuplicateReport(groups=tuple(groups))


def _model(entry: CatalogEntry, facts: dict[str, object]) -> DuplicateModel:
    size, artifact = facts.get("size_bytes"), facts.get("selected_artifact_id")
    return DuplicateModel(
        model_id=entry.id,
        storage_kind=entry.storage_kind,
        path=entry.bundle_root or entry.path,
        size_bytes=size if isinstance(size, int) else None,
        is_partial=entry.is_partial,
        selected_artifact_id=artifact if isinstance(artifact, str) else None,
    )

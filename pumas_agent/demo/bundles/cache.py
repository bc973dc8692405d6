"""Owns a bundle as the Hugging Face cache keeps it: a snapshot of links into a folder of blobs.

The layout (huggingface_hub, "Understand caching"): models--OWNER--NAME/{blobs/ETAG, refs/main, snapshots/REVISION/…}.
An etag is the SHA-256 of a large file and git's number of a small one; a revision has the form of a git commit.
"""

import hashlib
from pathlib import Path

_LARGE = {".safetensors", ".bin", ".model"}  # what is stored as a large file for its name alone


def as_cache_snapshot(bundle: Path, cache: Path, *, repo_id: str) -> Path:
    """Copy `bundle` into `cache` as the main revision of the repository `OWNER/NAME`; the snapshot's folder.

    Another bundle under the same name is one more snapshot, which `main` then names; equal files are one blob.

    Raises:
        OSError: the disk does not take it.
    """
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    etags = {path.relative_to(bundle): _etag(path) for path in sorted(bundle.rglob("*")) if path.is_file()}
    revision = hashlib.sha1(repr(sorted(etags.items())).encode(), usedforsecurity=False).hexdigest()
    snapshot = repository / "snapshots" / revision
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(revision, encoding="ascii")
    for file, etag in etags.items():
        (repository / "blobs" / etag).write_bytes((bundle / file).read_bytes())
        link = snapshot / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * (len(file.parts) + 1), "blobs", etag))
    return snapshot


def _etag(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix in _LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

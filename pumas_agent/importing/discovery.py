"""Owns what is said about bundles that are found: their health, and whether and as what each of them is registered.

Searches and judges off the loop, within a time that a caller waits. Registers nothing.
"""

import asyncio
import contextlib
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pumas_agent.bundles import FindingCode, Look
from pumas_agent.bundles.discovery import MAX_BUNDLES, MAX_NOT_SEARCHED, BundlePlace, Search, find_bundles
from pumas_agent.bundles.walk import Stat
from pumas_agent.contracts.bundles import AssetValidationError
from pumas_agent.contracts.discovery import BundleHealth, DiscoveredBundle, DiscoveryReport, NotSearched
from pumas_agent.contracts.errors import PathNotAbsolute, PumasError
from pumas_agent.importing.external import BUNDLE_SETTLING
from pumas_agent.importing.record import DEFAULT_FAMILY, MODEL_TYPE
from pumas_agent.library import Catalog, normalize_name

SEARCH_S = 10.0
"""For walking; a command waits 30 s for a whole answer."""
JUDGE_S = 15.0
"""For judging, from the end of the search on."""
_GRACE_S = 1.0
"""A search ends by itself at its deadline; one that has not after this hangs in its filesystem."""
_MOST_HANGING = 8
"""Threads that may be left to filesystems that do not answer."""
_AT_A_TIME = 4
"""Judgements asked for at once: others who want one are not to wait behind a thousand."""

Progress = Callable[[str, int, int | None, str], None]


class BundleFinder:
    """Finds bundles, and says what is known about each."""

    def __init__(
        self,
        catalog: Catalog,
        library_root: Path,
        judge: Callable[[Path], Awaitable[Look]],
        search_roots: Sequence[Path],
    ) -> None:
        """`library_root` is not searched: what lies there is the library's own."""
        self._catalog = catalog
        self._library_root = library_root
        self._judge = judge
        self._search_roots = search_roots
        self._hanging: set[Path] = set()

    def retune(self, search_roots: Sequence[Path]) -> None:
        """Other folders are meant when none are named."""
        self._search_roots = search_roots

    async def find(self, paths: Sequence[str] | None, progress: Progress) -> DiscoveryReport:
        """What lies below the folders, each bundle once; null means the configured folders.

        Raises:
            PathNotAbsolute: a path is relative.
        """
        folders = self._search_roots if paths is None else [_absolute(path) for path in paths]
        progress("searching folders", 0, len(folders), "folders")
        deadline = time.monotonic() + SEARCH_S
        searches = await asyncio.gather(*(self._search(folder, deadline) for folder in dict.fromkeys(folders)))
        every = {place.root: place for search in searches for place in search.places}
        places = list(every.values())[:MAX_BUNDLES]
        looks = await self._looks([place.root for place in places], progress)
        registered = self._registered()
        bundles = tuple(self._bundle(place, looks.get(place.root), registered) for place in places)
        left = [NotSearched(path=path, reason=reason) for search in searches for path, reason in search.not_searched]
        return DiscoveryReport(
            searched=tuple(str(search.folder) for search in searches if search.readable),
            bundles=bundles,
            not_searched=tuple(left[:MAX_NOT_SEARCHED]),
            truncated=len(looks) < len(every) or any(search.truncated for search in searches),
        )

    # --- looking ------------------------------------------------------------------------------------------------

    async def _search(self, folder: Path, deadline: float) -> Search:
        """On a thread that can be left to a filesystem that hangs."""
        if folder in self._hanging or len(self._hanging) >= _MOST_HANGING:
            return _no_answer(folder)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Search] = loop.create_future()

        def settle(search: Search) -> None:
            self._hanging.discard(folder)
            if not answer.done():
                answer.set_result(search)

        def work() -> None:
            search = find_bundles(folder, deadline=deadline, leave_out=self._library_root)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, search)

        threading.Thread(target=work, name="find-bundles", daemon=True).start()
        try:
            async with asyncio.timeout(deadline + _GRACE_S - time.monotonic()):
                return await answer
        except TimeoutError:
            self._hanging.add(folder)
            return _no_answer(folder)

    async def _looks(self, roots: Sequence[Path], progress: Progress) -> dict[Path, Look | PumasError]:
        """A look at each root, or why there is none; roots for which there was no time are left out."""
        looks: dict[Path, Look | PumasError] = {}
        turns = asyncio.Semaphore(_AT_A_TIME)

        async def one(root: Path) -> None:
            async with turns:
                try:
                    looks[root] = await self._judge(root)
                except PumasError as error:
                    looks[root] = error
                progress("judging bundles", len(looks), len(roots), "bundles")

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JUDGE_S), asyncio.TaskGroup() as judgements:
                for root in roots:
                    judgements.create_task(one(root))
        return looks

    # --- telling ------------------------------------------------------------------------------------------------

    def _registered(self) -> dict[str, str]:
        """The ids of the external bundles, by their roots."""
        bundles = self._catalog.bundles()
        return {entry.bundle_root: entry.id for entry in bundles if entry.is_external and entry.bundle_root}

    def _bundle(
        self, place: BundlePlace, look: Look | PumasError | None, registered: dict[str, str]
    ) -> DiscoveredBundle:
        family, name = _names(place)
        known_as = registered.get(str(place.root))
        model_id = known_as or f"{MODEL_TYPE}/{normalize_name(family)}/{normalize_name(name)}"
        health, findings = _verdict(look)
        report = look.report if isinstance(look, Look) else None
        snapshot = place.snapshot
        return DiscoveredBundle(
            path=str(place.root),
            family=family,
            official_name=name,
            repo_id=snapshot and snapshot.repo_id,
            revision=snapshot and snapshot.revision,
            is_main=snapshot and snapshot.is_main,
            model_id=model_id,
            registered=known_as is not None,
            id_taken=known_as is None and self._catalog.get(model_id) is not None,
            health=health,
            pipeline_class=report and report.pipeline_class,
            task=report and report.task,
            size_bytes=_size(look),
            findings=len(findings),
            first_finding=findings[0] if findings else None,
        )


def _absolute(path: str) -> Path:
    folder = Path(path)
    if not folder.is_absolute():
        raise PathNotAbsolute(
            f"not an absolute path: {path!r}", hint="the command line makes paths absolute; a program has to"
        )
    return folder


def _no_answer(folder: Path) -> Search:
    return Search(folder, False, (), ((str(folder), "its filesystem did not answer in time"),), truncated=True)


def _names(place: BundlePlace) -> tuple[str, str]:
    """Family and name: owner and name of the repository, else our own family and the folder's name."""
    if place.snapshot is None:
        return DEFAULT_FAMILY, place.root.name or "bundle"  # `/` has no name
    owner, _, name = place.snapshot.repo_id.rpartition("/")
    # A repository may hold several bundles, each in a folder of its snapshot.
    below = place.root.relative_to(place.snapshot.repository).parts[2:]
    return owner or DEFAULT_FAMILY, " ".join((name, *below))


def _verdict(look: Look | PumasError | None) -> tuple[BundleHealth, tuple[AssetValidationError, ...]]:
    if look is None:
        return BundleHealth.UNJUDGED, ()
    if isinstance(look, PumasError):
        return BundleHealth.UNJUDGED, (AssetValidationError(code=look.code, message=look.message),)
    findings = look.report.findings
    if findings:
        whole = all(finding.code == FindingCode.UNSUPPORTED_PIPELINE for finding in findings)
        return BundleHealth.UNSUPPORTED if whole else BundleHealth.INVALID, findings
    if look.settling:
        message = "the bundle is being written right now"
        return BundleHealth.UNJUDGED, (AssetValidationError(code=BUNDLE_SETTLING, message=message),)
    return BundleHealth.VALID, ()


def _size(look: Look | PumasError | None) -> int:
    """Bytes of the regular files, links followed, for all files of a cache are links; each file once."""
    if not isinstance(look, Look):
        return 0
    if look.signature is None:
        return look.report.size_bytes
    files = (status for _, status in look.signature.entries if isinstance(status, Stat) and stat.S_ISREG(status.mode))
    return sum({(status.dev, status.ino): status.size for status in files}.values())

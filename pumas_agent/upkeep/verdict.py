"""The verdict on one asset, and for how long it may be believed.

Lives in memory only: the record keeps what people and other programs need, a verdict is what a runtime bets on.
"""

from dataclasses import dataclass, replace

from pumas_agent.bundles import StatSignature
from pumas_agent.contracts.bundles import AssetValidationError, BundleReport
from pumas_agent.contracts.metadata import AssetValidationState

MAX_QUICK_ENTRIES = 500
"""More `stat` calls than this (about a millisecond) are not made on the event loop."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judgement found and what may be said because of it.

    Attributes:
        state: what is served; `valid` only when the record says so too.
        errors: why it is not valid.
        entry_path: what a runtime would execute.
        report_json: of a bundle, as JSON: a thousand reports that are kept whole weigh 20 MB; None of a file model.
        changed: it is not the bundle that was valid there last.
        writing: it is not valid, and not quiet either: files come and grow, or somebody says that they do.
        signature: under which the verdict stays true; None when the asset did not hold still.
        racy: the signature may not tell a further change.
        local: `stat` on it does not wait.
        beside: folders elsewhere that it depends on; None when these cannot be told.
        in_library: it lies in the library's own folder.
        judged_at: RFC 3339.
        started: monotonic seconds at which the judgement began.
        generation: of the library when it was published.
    """

    model_id: str
    state: AssetValidationState
    errors: tuple[AssetValidationError, ...]
    entry_path: str
    report_json: bytes | None
    changed: bool
    writing: bool
    signature: StatSignature | None
    racy: bool
    local: bool
    beside: tuple[str, ...] | None
    in_library: bool
    judged_at: str
    started: float
    generation: int

    @property
    def report(self) -> BundleReport | None:
        """What was found in a bundle, parsed for this call; None of a file model."""
        return None if self.report_json is None else BundleReport.model_validate_json(self.report_json)

    @property
    def is_valid(self) -> bool:
        """A runtime may execute it."""
        return self.state is AssetValidationState.VALID

    @property
    def settling(self) -> bool:
        """It is being written right now."""
        return self.signature is None or self.writing

    def holds(self) -> bool:
        """True when nothing it depends on has changed since: a bounded number of `stat` calls, for the event loop.

        False also when that cannot be told this way, and the asset has to be judged again.
        """
        return not self.racy and self._is_quick() and self._unchanged()

    def holds_since(self, moment: float) -> bool:
        """True when the judgement began after `moment` (monotonic seconds) and, as far as a quick look tells, holds."""
        return self.started >= moment and self.signature is not None and (not self._is_quick() or self._unchanged())

    def as_settling(self) -> "Verdict":
        """The same asset, of which nothing can be promised: it changed each time it was looked at."""
        state = AssetValidationState.DEGRADED if self.is_valid else self.state
        return replace(self, state=state, signature=None)

    def _is_quick(self) -> bool:
        return self.local and self.signature is not None and len(self.signature) <= MAX_QUICK_ENTRIES

    def _unchanged(self) -> bool:
        return self.signature is not None and self.signature.unchanged()

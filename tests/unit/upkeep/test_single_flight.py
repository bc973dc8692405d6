"""One judgement an asset at a time; whoever asks during one gets the next."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pumas_agent.bundles import Look, StatSignature
from pumas_agent.contracts.bundles import AssetValidationError, BundleReport
from pumas_agent.contracts.errors import AssetUnresponsive
from pumas_agent.contracts.metadata import AssetValidationState, BundleFormat, ModelMetadata, StorageKind
from pumas_agent.library import Library
from pumas_agent.upkeep import Holds, NothingProven, RecordKeeper, Refresher

MODEL = "diffusion/f/m"
GOOD: tuple[AssetValidationError, ...] = ()
BAD = (AssetValidationError(code="missing_component", message="unet is missing", path="unet"),)


class ScriptedJudge:
    """Says what the test set when a look began; a look ends when it is let go."""

    def __init__(self, root: Path) -> None:
        self.findings = GOOD
        self.fault: Exception | None = None
        self.begun: list[bool] = []
        """Of each look, whether it was urgent."""
        self.free = asyncio.Event()
        self.settling = False
        self._root = root

    async def judge(self, root: Path, *, urgent: bool = False) -> Look:
        findings, fault = self.findings, self.fault
        self.begun.append(urgent)
        await self.free.wait()
        if fault is not None:
            raise fault
        signature = None if self.settling else StatSignature.take(self._root)
        return Look(
            BundleReport(root=str(root), findings=findings),
            signature,
            racy=True,
            local=True,
            beside=(),
            mount=None,
            inode=None,
            judged_at="2026",
        )


@pytest.fixture
def judge(tmp_path: Path) -> ScriptedJudge:
    (tmp_path / "bundle").mkdir()
    return ScriptedJudge(tmp_path / "bundle")


@pytest.fixture
async def refresher(tmp_path: Path, judge: ScriptedJudge) -> AsyncIterator[Refresher]:
    library = await asyncio.to_thread(Library.open, tmp_path / "library", "agent")
    record = ModelMetadata(
        storage_kind=StorageKind.EXTERNAL_REFERENCE,
        bundle_format=BundleFormat.DIFFUSERS_DIRECTORY,
        entry_path=str(tmp_path / "bundle"),
        validation_state=AssetValidationState.VALID,
    )
    await library.write(lambda store: store.create(MODEL, record))
    yield Refresher(
        library,
        judge,
        NothingProven(),
        observe=lambda _: None,
        observe_silence=lambda _, __: None,
        records=RecordKeeper(library, lambda _: None),
        holds=Holds(lambda _: None),
    )
    judge.free.set()
    await asyncio.to_thread(library.close)


@pytest.fixture
def begun(judge: ScriptedJudge) -> Callable[[int], Awaitable[None]]:
    """Wait until so many looks have begun."""

    async def wait(number: int) -> None:
        deadline = time.monotonic() + 10
        while len(judge.begun) < number:
            assert time.monotonic() < deadline
            await asyncio.sleep(0)

    return wait


async def test_many_refreshes_at_once_make_two_judgements(
    refresher: Refresher, judge: ScriptedJudge, begun: Callable[[int], Awaitable[None]]
) -> None:
    """One that runs, and one for everybody who came after it began."""
    crowd = [asyncio.create_task(refresher.refresh(MODEL)) for _ in range(100)]
    await begun(1)

    judge.free.set()
    verdicts = await asyncio.gather(*crowd)

    assert len(judge.begun) == 2
    assert len({id(verdict) for verdict in verdicts}) == 2


async def test_who_asks_during_a_judgement_gets_the_next(
    refresher: Refresher, judge: ScriptedJudge, begun: Callable[[int], Awaitable[None]]
) -> None:
    """What changed after the first began is in the second."""
    first = asyncio.create_task(refresher.refresh(MODEL))
    await begun(1)
    judge.findings = BAD
    second = asyncio.create_task(refresher.refresh(MODEL))

    judge.free.set()

    assert (await first).is_valid
    assert not (await second).is_valid


async def test_who_asks_during_the_second_gets_a_third(
    refresher: Refresher, judge: ScriptedJudge, begun: Callable[[int], Awaitable[None]]
) -> None:
    """The one that followed has begun: it is too old for a new question."""
    asked = [asyncio.create_task(refresher.refresh(MODEL))]
    await begun(1)
    asked.append(asyncio.create_task(refresher.refresh(MODEL)))
    judge.free.set()
    await begun(2)
    judge.free.clear()
    judge.findings = BAD
    asked.append(asyncio.create_task(refresher.refresh(MODEL)))
    judge.free.set()

    verdicts = await asyncio.gather(*asked)

    assert [verdict.is_valid for verdict in verdicts] == [True, True, False]
    assert len(judge.begun) == 3


async def test_a_lookup_during_a_judgement_never_gets_what_was_before_it_asked(
    refresher: Refresher, judge: ScriptedJudge, begun: Callable[[int], Awaitable[None]]
) -> None:
    """Law 6: the older judgement is waited for, and not believed; the one for the lookup goes before others."""
    first = asyncio.create_task(refresher.refresh(MODEL))
    await begun(1)
    judge.findings = BAD
    lookup = asyncio.create_task(refresher.current(MODEL))

    judge.free.set()

    assert (await first).is_valid
    assert not (await lookup).is_valid
    assert judge.begun == [False, True]


async def test_a_caller_who_goes_away_takes_no_judgement_with_them(
    refresher: Refresher, judge: ScriptedJudge, begun: Callable[[int], Awaitable[None]]
) -> None:
    """Others wait for it; and its verdict is kept."""
    leaving = asyncio.create_task(refresher.refresh(MODEL))
    await begun(1)
    staying = asyncio.create_task(refresher.refresh(MODEL))
    await asyncio.sleep(0)
    leaving.cancel()

    judge.free.set()
    verdict = await staying

    assert leaving.cancelled()
    assert verdict is refresher.verdict(MODEL)


async def test_a_judgement_that_fails_leaves_no_verdict_and_no_one_waiting(
    refresher: Refresher, judge: ScriptedJudge
) -> None:
    """Everybody is told; the next question is asked anew."""
    judge.free.set()
    await refresher.refresh(MODEL)
    judge.fault = AssetUnresponsive("it does not answer")

    crowd = await asyncio.gather(*(refresher.refresh(MODEL) for _ in range(5)), return_exceptions=True)
    known = refresher.verdict(MODEL)
    judge.fault = None

    assert all(isinstance(answer, AssetUnresponsive) for answer in crowd)
    assert known is None
    assert (await refresher.current(MODEL)).is_valid


async def test_what_never_holds_still_is_settling(refresher: Refresher, judge: ScriptedJudge) -> None:
    """No finding, no valid verdict, and an end to the looking."""
    judge.settling = True
    judge.free.set()

    verdict = await refresher.current(MODEL)

    assert (verdict.settling, verdict.is_valid, verdict.errors) == (True, False, ())
    assert len(judge.begun) <= 4

"""Feed: what the agent is asked for `top`, and when.

Owns the two connections: one that asks once a second and after each event, one that listens. Draws nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pumas_agent.cli.top.view import Rates, View, figures_of
from pumas_agent.client import AsyncAgentClient
from pumas_agent.contracts.errors import ModelNotFound, PumasError

EVERY_S = 1.0
PATIENCE_S = 5.0
_GATHER_S = 0.05
"""Events that come together are one reason to look."""
_PAGE = 1000
_SHARE = 5
"""The list of models is loaded again after as many times as long as loading it took, so that it costs a fixed share."""
_JUDGED_AGAIN_S = 5.0


class Feed:
    """Keeps `view` as the agent is now. Belongs to one event loop.

    Args:
        socket: of the agent.
        visible: the ids of which it has to be known when they were judged.
    """

    def __init__(self, socket: Path, visible: Callable[[], Iterable[str]] = tuple) -> None:
        self.view = View()
        self.events = 0
        """How often the agent told of something."""
        self.client = AsyncAgentClient(socket, timeout=PATIENCE_S)
        self._visible = visible
        self._rates = Rates()
        self._news = asyncio.Event()
        self._models_changed = True
        self._models_due = 0.0
        self._judged_at: dict[str, float] = {}

    async def look(self) -> None:
        """Ask for everything that may be other by now.

        Raises:
            PumasError: why the agent does not answer.
        """
        view = self.view
        view.status = await self.client.call("agent.status")
        view.figures = figures_of((await self.client.call("agent.metrics"))["text"])
        view.rates = self._rates.of(view.figures)
        if self._models_changed and time.monotonic() >= self._models_due:
            self._models_changed, began = False, time.monotonic()
            view.models = await self._models()
            self._models_due = time.monotonic() + _SHARE * (time.monotonic() - began)
        view.seen_at, view.gone, view.gone_since = datetime.now(UTC), None, None

    async def judged(self, ids: Iterable[str]) -> None:
        """Ask when some models were judged, as far as that is not known or was asked for long ago.

        Raises:
            PumasError: why the agent does not answer.
        """
        old = time.monotonic() - _JUDGED_AGAIN_S
        for model_id in [model_id for model_id in ids if self._judged_at.get(model_id, old) <= old]:
            with suppress(ModelNotFound):  # its row goes with the next list
                self.view.judged[model_id] = (await self.client.call("get_model", model_id=model_id))["validated_at"]
            self._judged_at[model_id] = time.monotonic()

    async def follow(self, show: Callable[[], None]) -> None:
        """Look for ever, and `show` each time; an agent that goes away is waited for."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._poll(show))
        finally:
            await self.client.close()

    async def _poll(self, show: Callable[[], None]) -> None:
        while True:
            try:
                await self.look()
                show()  # which rows can be seen is known when they are drawn
                await self.judged(self._visible())
            except PumasError as error:
                self._lose(error)
            show()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._news.wait()
                await asyncio.sleep(_GATHER_S)
            self._news.clear()

    async def _listen(self) -> None:
        while True:
            with suppress(PumasError):  # who asks is told the same, and says it
                async for event in self.client.events(["alerts", "models"], wait=True):
                    if event.update is not None:
                        self._judged_at.pop(event.update.model_id, None)
                    self._models_changed |= event.topic == "models"
                    self.events += 1
                    self._news.set()
            await asyncio.sleep(EVERY_S)

    def _lose(self, error: PumasError) -> None:
        view = self.view
        if view.gone is None:
            view.gone_since = datetime.now(UTC)
        view.gone, view.rates = error.message, {}
        self._models_changed, self._models_due = True, 0.0
        self._judged_at.clear()

    async def _models(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = await self.client.call("list_models", limit=_PAGE, offset=len(found))
            new = {model["id"]: model for model in page["models"]} | found
            if len(new) == len(found) or len(new) >= page["totalCount"]:
                return list(new.values())
            found = new

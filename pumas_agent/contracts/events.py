"""Events: what a subscription sends by itself, and the positions a client resumes from. Owns the shapes alone."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pumas_agent.contracts.health import Alert
from pumas_agent.contracts.model import Contract, is_absent
from pumas_agent.contracts.records import UpdateEvent


class Topic(StrEnum):
    """What can be subscribed to."""

    ALERTS = "alerts"
    MODELS = "models"


class Transition(StrEnum):
    """What happened to an alert; the last part of the `event` of its line in the log."""

    RAISED = "raised"
    UPDATED = "updated"
    CLEARED = "cleared"


class SubscribeParams(Contract):
    """Which topics, and where the caller stands in them."""

    topics: Annotated[tuple[Topic, ...], Field(min_length=1, max_length=len(Topic))]
    cursor: Annotated[str, Field(max_length=512)] | None = Field(
        default=None,
        description="Of an event, a subscription, the update feed or `agent.health`; a topic that it does not name"
        " begins now.",
    )


class Subscribed(Contract):
    """The subscription, and where it begins."""

    subscription: str
    cursor: str
    stale_cursor: bool = Field(
        default=False, description="The cursor is no position of this agent: too old, ahead, or of another agent."
    )
    snapshot_required: bool = Field(default=False, description="Something before the beginning was lost.")
    reload: tuple[Topic, ...] = Field(
        default=(), description="The topics of which that is so: load `agent.health`, or the list of models, anew."
    )


class UnsubscribeParams(Contract):
    """Which subscription of the same connection."""

    subscription: Annotated[str, Field(max_length=64)]


class Unsubscribed(Contract):
    """Whether there was such a subscription."""

    unsubscribed: bool


class Event(Contract):
    """Params of an `event` notification: `alert` and `transition`, or `update`, as the topic says; else left out."""

    subscription: str
    topic: Topic
    cursor: str = Field(description="Where the subscription stands after this event, in all its topics.")
    transition: Transition | None = Field(default=None, exclude_if=is_absent)
    alert: Alert | None = Field(default=None, exclude_if=is_absent)
    update: UpdateEvent | None = Field(default=None, exclude_if=is_absent)
    snapshot_required: bool = Field(
        default=False, description="Events of this topic were lost before this one: load anew what it is about."
    )

"""Metrics: the answer of `agent.metrics`. Owns the shape; the names are in `health.metrics`."""

from typing import Literal

from pumas_agent.contracts.model import Contract


class MetricsReport(Contract):
    """What is measured, in the text format of Prometheus."""

    content_type: Literal["text/plain; version=0.0.4; charset=utf-8"] = "text/plain; version=0.0.4; charset=utf-8"
    text: str

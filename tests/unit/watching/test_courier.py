"""Calls that may never come back cost one thread each, and nobody else's time."""

import threading

import pytest

from pumas_agent.watching.courier import Courier, Silent


def test_a_call_comes_back_with_its_result_or_its_error() -> None:
    """On one thread, whoever asks."""
    courier = Courier(10.0)
    threads = {courier.ask("a", threading.get_ident), courier.ask("b", threading.get_ident)}
    courier.stop()

    assert len(threads) == 1
    assert threading.get_ident() not in threads
    with pytest.raises(ZeroDivisionError):
        courier.ask("a", lambda: 1 // 0)
    courier.stop()


def test_a_root_that_does_not_answer_is_left_and_the_others_are_asked() -> None:
    """Its next calls are not made until the first is back; then it is asked again."""
    courier = Courier(0.05)
    free, asked = threading.Event(), []

    def hangs() -> str:
        asked.append(1)
        free.wait(30)
        return "late"

    with pytest.raises(Silent):
        courier.ask("hung", hangs)
    with pytest.raises(Silent):
        courier.ask("hung", hangs)
    assert courier.ask("well", lambda: "at once") == "at once"
    assert len(asked) == 1

    free.set()
    courier.patience_s = 10.0
    while True:
        try:
            assert courier.ask("hung", hangs) == "late"
            break
        except Silent:  # the first call has not quite come back
            threading.Event().wait(0.001)
    courier.stop()

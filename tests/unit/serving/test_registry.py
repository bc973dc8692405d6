"""Parameters are checked before a handler sees them, and every refusal names what is wrong."""

import threading
from typing import Any

import pytest

from pumas_agent.contracts.errors import InvalidParams, MethodNotFound
from pumas_agent.contracts.rpc import METHODS, Access, MethodContract, Progress
from pumas_agent.serving import Handler, Peer, PeerPolicy, Request, find_handler, parse_params
from pumas_agent.serving import registry as registry_module

PEER = Peer(uid=1000, gid=1000, pid=1, groups=frozenset({1000, 44}))
REGISTRY = {name: Handler(contract, lambda _params, _request: b"{}") for name, contract in METHODS.items()}


def test_an_unknown_method_is_told_its_neighbours() -> None:
    """The hint names methods that are spelled nearly the same."""
    with pytest.raises(MethodNotFound, match="get_modle") as caught:
        find_handler(REGISTRY, "get_modle")

    assert caught.value.hint is not None
    assert "get_model" in caught.value.hint


def test_a_name_of_any_length_is_refused_briefly() -> None:
    """A stranger's megabyte is neither compared nor repeated."""
    with pytest.raises(MethodNotFound) as caught:
        find_handler(REGISTRY, "x" * 1_000_000)

    assert len(caught.value.message) < 300


def test_each_wrong_parameter_is_named() -> None:
    """Unknown, missing and mistyped parameters stand in one message, and as a list in the data."""
    with pytest.raises(InvalidParams) as caught:
        parse_params(METHODS["search_models"], {"limit": "many", "colour": "red"})

    assert caught.value.data["parameters"] == ["limit", "query", "colour"]
    for part in ("'query' is missing", "'colour' is unknown", "'limit': input should be a valid integer"):
        assert part in caught.value.message
    assert "http" not in caught.value.message
    assert "red" not in caught.value.message


@pytest.mark.parametrize("params", [{f"p{n}": n for n in range(70_000)}, {"model_ids": [0] * 400_000}])
def test_a_flood_of_wrong_parameters_is_refused_briefly(params: dict[str, Any]) -> None:
    """The refusal does not grow with what was sent."""
    with pytest.raises(InvalidParams) as caught:
        parse_params(METHODS["resolve_model_execution_descriptors_batch"], params)

    assert len(caught.value.message) < 300


@pytest.mark.parametrize("contract", METHODS.values(), ids=METHODS)
def test_every_method_says_who_may_call_it(contract: MethodContract) -> None:
    """Own user and root may call every method; a member of the group those that read; a stranger none."""
    policy = PeerPolicy(own_uid=1, group_gid=44)
    root, owner, stranger = (Peer(uid, uid, 1, frozenset()) for uid in (0, 1, 2))

    assert contract.access in policy.allowed(root)
    assert contract.access in policy.allowed(owner)
    assert (contract.access in policy.allowed(PEER)) == (contract.access is Access.READ)
    assert not policy.allowed(stranger)


def test_without_a_group_only_the_owner_and_root_are_heard() -> None:
    """Group 0, or any other, opens nothing by itself."""
    policy = PeerPolicy(own_uid=1)

    allowed = policy.allowed(Peer(uid=2, gid=0, pid=1, groups=frozenset({0, 1})))

    assert not allowed


def test_progress_is_told_about_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two reports lie 100 ms; a new stage and the last step are told at once."""
    now = 100.0
    monkeypatch.setattr(registry_module, "time", type("Clock", (), {"monotonic": lambda: now}))
    told: list[Progress] = []
    request = Request(7, PEER, told.append)

    for step in range(1, 1000):
        now = 100.0 + step / 1000
        request.progress("copying", step, 1000, "files")
    request.progress("copying", 1000, 1000, "files")
    request.progress("indexing", 0, None, "models")

    assert 10 <= len(told) - 2 <= 11
    assert [(report.stage, report.done) for report in told[-2:]] == [("copying", 1000), ("indexing", 0)]
    assert {report.id for report in told} == {7}


def test_progress_may_come_from_any_thread() -> None:
    """A worker thread reports as the loop's thread does."""
    told: list[Progress] = []
    request = Request("a", PEER, told.append)

    thread = threading.Thread(target=request.progress, args=("hashing", 1, 2, "files"))
    thread.start()
    thread.join()

    assert [report.done for report in told] == [1]

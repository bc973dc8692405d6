"""`pumas-agent discover` as a process of its own, without an agent and beside one."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import snapshot

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, StartAgent

MAIN = "c0ffee" + "0" * 34
OLD = "beef" + "0" * 36


@pytest.fixture
def cache(short_tmp: Path) -> Path:
    """A Hugging Face cache: two snapshots of acme/tiny, one of acme/torn, whose UNet is gone."""
    hub = short_tmp / "hub"
    for repository, revision in (
        ("models--acme--tiny", OLD),
        ("models--acme--tiny", MAIN),
        ("models--acme--torn", MAIN),
    ):
        _download(hub / repository, revision)
    (hub / "models--acme--torn" / "snapshots" / MAIN / "unet").rename(short_tmp / "unet")
    return hub


def _download(repository: Path, revision: str) -> None:
    """Write a snapshot as huggingface_hub does: files in blobs/, links to them, and refs/main."""
    plain = repository / "blobs" / revision
    write_stable_diffusion_bundle(plain)
    for path in [path for path in plain.rglob("*") if path.is_file()]:
        relative = path.relative_to(plain)
        blob = path.rename(repository / "blobs" / f"{revision}-{'-'.join(relative.parts)}")
        link = repository / "snapshots" / revision / relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)


def _discover(
    home: Path, *args: str, cwd: Path | None = None, environ: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    given = {"PUMAS_AGENT_LIBRARY": str(home / "library"), "PUMAS_AGENT_SOCKET": str(home / "none.sock"), **environ}
    return subprocess.run(
        [sys.executable, "-m", "pumas_agent", "discover", *args],
        env={**kept, "HOME": str(home), **given},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(done.stdout)
    assert (body["schema"], done.stderr) == ("pumas-agent/discover/1", "")
    return body


def test_a_cache_is_found_by_its_variables_and_untouched(short_tmp: Path, cache: Path) -> None:
    """Before there is any library, and making none; the snapshot of main first. Exits 1 for the torn one."""
    before = snapshot(cache)

    done = _discover(short_tmp, "--json", environ={"HF_HUB_CACHE": str(cache)})

    assert done.returncode == 1
    assert [(found["repo_id"], found["revision"], found["health"]) for found in _told(done)["bundles"]] == [
        ("acme/tiny", MAIN, "valid"),
        ("acme/tiny", OLD, "valid"),
        ("acme/torn", MAIN, "invalid"),
    ]
    assert snapshot(cache) == before
    assert not (short_tmp / "library").exists()


def test_people_read_a_table_and_what_is_wrong(short_tmp: Path, cache: Path) -> None:
    """Plain columns in a pipe; an older snapshot is told apart by its revision."""
    done = _discover(short_tmp, "hub", cwd=short_tmp)

    lines = done.stdout.splitlines()
    assert lines[0].split() == ["NAME", "TASK", "SIZE", "HEALTH", "REGISTERED", "AS", "PATH"]
    assert lines[2].startswith("acme/tiny (beef0000) ")
    assert lines[2].endswith(f" {cache}/models--acme--tiny/snapshots/{OLD}")
    assert lines[-1].startswith("  missing_component unet: ")
    assert (done.returncode, done.stderr) == (1, "")


def test_registering_many_takes_the_healthy_ones_under_their_names(short_tmp: Path, cache: Path) -> None:
    """Owner as family, the repository as name; the second time there is nothing to do, and the list shows the id."""
    first = _told(_discover(short_tmp, str(cache), "--register", "--yes", "--json"))
    second = _told(_discover(short_tmp, str(cache), "--register", "--yes", "--json"))

    assert [(done["model_id"], done["status"]) for done in first["registrations"]] == [
        ("diffusion/acme/tiny", "registered")
    ]
    assert [(left["path"].rpartition("/")[2], left["reason"].partition(" ")[2][:7]) for left in first["skipped"]] == [
        (OLD, "will be")
    ]
    assert second["registrations"] == []
    assert [(found["model_id"], found["registered"], found["id_taken"]) for found in second["bundles"]] == [
        ("diffusion/acme/tiny", True, False),
        ("diffusion/acme/tiny", False, True),
        ("diffusion/acme/torn", False, False),
    ]
    record = json.loads((short_tmp / "library" / "diffusion" / "acme" / "tiny" / "metadata.json").read_text())
    assert (record["family"], record["official_name"], record["repo_id"]) == ("acme", "tiny", "acme/tiny")


def test_without_a_terminal_it_does_not_ask(short_tmp: Path, cache: Path) -> None:
    """It refuses before it searches, and names --yes."""
    done = _discover(short_tmp, str(cache), "--register")

    assert (done.returncode, done.stdout) == (64, "")
    assert "--yes goes without asking" in done.stderr
    assert not (short_tmp / "library").exists()


def test_on_a_terminal_it_says_what_it_would_do_and_takes_no_for_an_answer(short_tmp: Path, cache: Path) -> None:
    """The plan stands before the question."""
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")

    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent", "--library", str(short_tmp / "library"), "discover", cache, "--register"],
        env=os.environ | {"PUMAS_AGENT_SOCKET": str(short_tmp / "none.sock")},
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)

    assert done.returncode == 130
    plan, _, question = done.stderr.partition("Register 1 bundle?")
    assert f"to register: diffusion/acme/tiny from {cache}/models--acme--tiny/snapshots/{MAIN}\n" in plan
    assert question
    assert not (short_tmp / "library").exists()


def test_a_folder_that_is_not_there_is_told(short_tmp: Path) -> None:
    """Exit code 1: nothing was found, but not because nothing is there."""
    done = _discover(short_tmp, "nowhere", cwd=short_tmp)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"not searched: {short_tmp}/nowhere: no such file or directory" in done.stderr


def test_without_any_folder_it_asks_for_one(short_tmp: Path) -> None:
    """No search roots and no cache: an empty answer would say that there is nothing on this machine."""
    done = _discover(short_tmp)

    assert (done.returncode, done.stdout) == (64, "")
    assert f"there is no {short_tmp}/.cache/huggingface/hub" in done.stderr


def test_an_agent_tells_the_same(agent: "AgentUnderTest", short_tmp: Path, cache: Path) -> None:
    """Over its socket the same report; what it has registered is known to be."""
    at = {"PUMAS_AGENT_SOCKET": str(agent.socket), "PUMAS_AGENT_LIBRARY": str(agent.library)}

    alone = _told(_discover(short_tmp, str(cache), "--json"))
    beside = _told(_discover(short_tmp, str(cache), "--json", environ=at))
    registered = _told(_discover(short_tmp, str(cache), "--json", "--register", "--yes", environ=at))
    direct = agent.client.call("discover_bundles", paths=[str(cache)])

    assert beside == alone
    assert [done["model_id"] for done in registered["registrations"]] == ["diffusion/acme/tiny"]
    assert [found["registered"] for found in direct["bundles"]] == [True, False, False]


def test_an_agent_that_is_named_no_folder_searches_its_own(cache: Path, start: "StartAgent") -> None:
    """`bundles.search_roots`."""
    agent = start(PUMAS_AGENT_BUNDLES__SEARCH_ROOTS=str(cache))

    report = agent.client.call("discover_bundles")

    assert report["searched"] == [str(cache)]
    assert len(report["bundles"]) == 3

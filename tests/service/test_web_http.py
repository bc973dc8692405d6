"""The page over HTTP, from an agent in a process of its own: who is let in, to what, and how much of it."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pumas_agent.contracts.rpc import MAX_FRAME_IN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

WEB = ("--web", "127.0.0.1:0")


@dataclass
class PageUnderTest:
    """A page, and the ways to ask it."""

    agent: "AgentUnderTest"
    url: str
    token: str
    http: httpx.Client

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def rpc(self, method: str, **params: Any) -> dict[str, Any]:
        answer = self.http.post("/rpc", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def page_of(agent: "AgentUnderTest") -> PageUnderTest:
    url = agent.client.call("agent.status")["page"]
    token = Path(f"{agent.socket}.token").read_text()
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)
    return PageUnderTest(agent, url, token, client)


@pytest.fixture
def page(shared_agent: "AgentUnderTest") -> Iterator[PageUnderTest]:
    """The page of an agent that other tests ask too."""
    made = page_of(shared_agent)
    with made.http:
        yield made


@pytest.fixture
def own_page(start: "StartAgent") -> Iterator[PageUnderTest]:
    """The page of an agent of the test's own."""
    made = page_of(start(options=WEB))
    with made.http:
        yield made


def raw(page: PageUnderTest, data: bytes, within_s: float = 10.0) -> bytes:
    """What is answered to bytes, until the connection is closed."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=within_s) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# --- who is let in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/rpc", "/events", "/metrics"])
@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer x", "Basic {token}", "Bearer {token}x", "Bearer {short}"]
)
def test_nothing_is_told_without_the_token(page: PageUnderTest, path: str, given: str | None) -> None:
    method = "POST" if path == "/rpc" else "GET"
    headers = {} if given is None else {"Authorization": given.format(token=page.token, short=page.token[:-1])}

    answer = httpx.request(method, page.url.rstrip("/") + path, headers=headers, trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["data"] == {
        "code": "not_permitted",
        "hint": "open the link that `pumas-agent web` prints",
    }


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/metrics"])
@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}"]
)
def test_a_name_of_somebody_else_is_not_answered(page: PageUnderTest, path: str, host: str) -> None:
    """Token or not: a site that leads its name here (DNS rebinding) must not get at the page's own origin."""
    answer = page.http.get(path, headers={"Host": host.format(port=page.port)})

    assert answer.status_code == 403
    assert answer.json()["error"]["data"]["code"] == "not_permitted"


def test_two_names_are_not_answered(page: PageUnderTest) -> None:
    head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nHost: attacker.example\r\nConnection: close\r\n\r\n"

    assert raw(page, head.encode()).split()[1] in {b"400", b"403"}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_each_name_of_this_machine_is_answered(page: PageUnderTest, name: str) -> None:
    assert page.http.get("/", headers={"Host": f"{name}:{page.port}"}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://attacker.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://localhost:{port}"],
)
def test_another_sites_page_is_not_answered(page: PageUnderTest, origin: str) -> None:
    """Not even with the token, and a page of another of our names is another site's."""
    answer = page.http.post("/rpc", json={}, headers={"Origin": origin.format(port=page.port)})

    assert answer.status_code == 403


def test_the_pages_own_origin_is_answered(page: PageUnderTest) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "agent.health"}

    answer = page.http.post("/rpc", json=request, headers={"Origin": page.url.rstrip("/")})

    assert "result" in answer.json()


@pytest.mark.parametrize("address", ["0.0.0.0:8451", "192.168.0.1:8451", "[::]:8451", "example.org:80", "8451"])
def test_an_address_that_others_could_reach_is_refused_before_anything_starts(short_tmp: Path, address: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pumas_agent", "--library", short_tmp / "library", "run", "--web", address],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 64
    assert "--web" in done.stderr
    assert not (short_tmp / "library").exists()


# --- what the browser is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/static/page.css", "/nothing", "/rpc", "/metrics"])
def test_every_answer_binds_the_browser(page: PageUnderTest, path: str) -> None:
    """Scripts and styles come from the page's own files alone, and no other site frames it."""
    headers = page.http.get(path).headers

    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control-") or name == "set-cookie"]


def test_data_is_kept_by_nobody(page: PageUnderTest) -> None:
    assert page.http.get("/metrics").headers["cache-control"] == "no-store"
    answer = page.http.post("/rpc", json={"jsonrpc": "2.0", "id": 1, "method": "agent.status"})
    assert answer.headers["cache-control"] == "no-store"


def test_every_file_that_the_page_names_is_there(page: PageUnderTest) -> None:
    """And nothing in the page stands where the policy would not run it."""
    html = page.http.get("/").text
    scripts = {name: page.http.get(f"/static/{name}.js").text for name in ("main", "models", "register")}
    named = {*re.findall(r'(?:src|href)="(/static/[^"]+)"', html), "/static/words.json"}
    for text in scripts.values():
        named |= {f"/static/{name}" for name in re.findall(r'from "\./([\w.]+)"', text)}

    assert {path: page.http.get(path).status_code for path in named} == dict.fromkeys(named, 200)
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", html)
    assert page.http.get("/static/main.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/", "/static/../token.py", "/static/%2e%2e/token.py", "//etc/passwd", "/index.html"]
)
def test_what_is_not_there_is_said_in_our_way(page: PageUnderTest, path: str) -> None:
    answer = page.http.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]["data"]["hint"] == "the page is at /"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/rpc"), ("POST", "/"), ("DELETE", "/events"), ("POST", "/metrics"), ("OPTIONS", "/rpc")],
)
def test_another_verb_does_nothing(page: PageUnderTest, method: str, path: str) -> None:
    assert page.http.request(method, path).status_code == 405


# --- the methods -----------------------------------------------------------------------------------------------------


def test_the_page_reads_and_acts_through_the_methods_of_the_socket(
    page: PageUnderTest, make_bundle: "MakeBundle"
) -> None:
    """What one does, the other sees."""
    root = make_bundle()
    spec = {"source_path": str(root), "family": "acme", "official_name": "tiny"}

    result = page.rpc("import_external_diffusers_directory", **spec)["result"]
    model_id = result["model_id"]

    over_the_socket = page.agent.client.call("get_model", model_id=model_id)
    over_http = page.rpc("get_model", model_id=model_id)["result"]
    judged = {"validated_at": None}  # again meanwhile, perhaps
    assert over_http | judged == over_the_socket | judged
    assert page.rpc("resolve_model_execution_descriptor", model_id=model_id)["result"]["entry_path"] == str(root)
    assert page.rpc("unregister_external_model", model_id=model_id)["result"]["success"]
    assert page.agent.model(model_id) is None


def test_a_write_that_nobody_waits_for_is_finished(
    page: PageUnderTest, make_bundle: "MakeBundle", until: "Callable[..., Any]"
) -> None:
    """Who asked hung up at once: a tab that was closed."""
    sent = post(page, registration(make_bundle("left")))

    with socket.create_connection(("127.0.0.1", page.port)) as connection:
        connection.sendall(sent)

    until(lambda: page.agent.model("diffusion/acme/left"), "that it is registered")


def test_a_request_that_is_cut_off_is_not_done(page: PageUnderTest, make_bundle: "MakeBundle") -> None:
    """Not even when what came of it could be read by itself."""
    body = registration(make_bundle("cut"))
    sent = post(page, body + b" ")[:-1]

    with socket.create_connection(("127.0.0.1", page.port)) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000)[:12] in {b"", b"HTTP/1.1 400"}

    assert page.rpc("get_model", model_id="diffusion/acme/cut")["error"]["data"]["code"] == "model_not_found"


def test_a_body_that_does_not_come_is_waited_for_for_seconds(page: PageUnderTest) -> None:
    started = time.monotonic()

    with socket.create_connection(("127.0.0.1", page.port), timeout=15) as connection:
        connection.sendall(post(page, b"{}")[:-1])
        answer = connection.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 9


def registration(bundle: Path) -> bytes:
    spec = {"source_path": str(bundle), "family": "acme", "official_name": bundle.name}
    call = {"jsonrpc": "2.0", "id": 1, "method": "import_external_diffusers_directory", "params": spec}
    return json.dumps(call).encode()


def post(page: PageUnderTest, body: bytes) -> bytes:
    """A request to the methods, as it goes over the connection."""
    head = (
        f"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nAuthorization: Bearer {page.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_a_refusal_is_the_one_of_the_socket(page: PageUnderTest) -> None:
    error = page.rpc("get_model", model_id="none")["error"]

    assert error == {
        "code": -32002,
        "message": "Model not found: none",
        "data": {"code": "model_not_found", "hint": "`pumas-agent list` shows the ids of all models"},
    }


def test_a_request_has_the_limit_of_the_socket(page: PageUnderTest) -> None:
    """Whether it says its length before, or comes in pieces."""
    body = b" " * (MAX_FRAME_IN + 1)
    as_json = {"Content-Type": "application/json"}

    whole = page.http.post("/rpc", content=body, headers=as_json)
    pieces = page.http.post("/rpc", content=iter([body[: MAX_FRAME_IN // 2]] * 3), headers=as_json)

    assert (whole.status_code, pieces.status_code) == (413, 413)
    assert whole.json()["error"]["data"]["code"] == "frame_too_large"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_of_another_site_could_send_is_refused(page: PageUnderTest, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}

    assert page.http.post("/rpc", content=b"{}", headers=headers).status_code == 415


def test_the_metrics_are_those_of_the_agent(page: PageUnderTest) -> None:
    """In the text format of Prometheus."""
    answer = page.http.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = set(re.findall(r"^(\w+)", answer.text, re.MULTILINE))
    assert names == set(re.findall(r"^(\w+)", page.agent.client.call("agent.metrics")["text"], re.MULTILINE))


# --- events ----------------------------------------------------------------------------------------------------------


def test_events_are_those_of_a_subscription(page: PageUnderTest, make_bundle: "MakeBundle") -> None:
    """From a cursor on, without a gap: what happened while nobody listened comes first."""
    with page.http.stream("GET", "/events") as stream:
        begun = json.loads(next(stream.iter_lines()))["result"]
    first = page.agent.register(make_bundle("first"))

    heard: list[dict[str, Any]] = []
    with page.http.stream("GET", "/events", params={"cursor": begun["cursor"]}) as stream:
        lines = stream.iter_lines()
        next(lines)
        for line in lines:
            heard.append(json.loads(line)["params"])
            if heard[-1]["update"]["model_id"] == first:
                break

    assert heard[0]["update"]["change_kind"] == "model_added"


def test_a_stream_that_is_left_is_ended(page: PageUnderTest, until: "Callable[..., Any]") -> None:
    def subscriptions() -> float:
        return float(re.findall(r"^pumas_agent_subscriptions (\S+)", page.http.get("/metrics").text, re.MULTILINE)[0])

    with page.http.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        assert subscriptions() == 1

    until(lambda: subscriptions() == 0, "no subscription")


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: "])
def test_a_head_that_does_not_come_costs_a_connection_for_seconds(page: PageUnderTest, sent: bytes) -> None:
    started = time.monotonic()

    with suppress(ConnectionResetError):
        assert raw(page, sent) == b""

    assert time.monotonic() - started < 9


def test_a_crowd_is_told_to_wait_and_the_socket_is_not_part_of_it(page: PageUnderTest) -> None:
    """Connections of the page are no connections of the socket: a runtime is answered all the same."""
    crowd = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(80)]
    try:
        answer = httpx.get(page.url, trust_env=False)
        assert answer.status_code == 503
        assert page.agent.client.call("agent.status")["pid"] == page.agent.pid
    finally:
        for connection in crowd:
            connection.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"A" * 100_000,
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_ends_its_connection(page: PageUnderTest, data: bytes) -> None:
    try:
        answer = raw(page, data)
    except ConnectionError:
        answer = b""

    assert not answer or answer.split()[1].startswith(b"4")
    assert page.http.get("/").status_code == 200


# --- its life --------------------------------------------------------------------------------------------------------


def test_the_token_is_its_users_alone_and_ends_with_the_agent(own_page: PageUnderTest) -> None:
    path = Path(f"{own_page.agent.socket}.token")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    own_page.agent.stop()

    assert not path.exists()


def test_the_token_is_in_no_log(start: "StartAgent") -> None:
    """At any level, however it is used and misused."""
    page = page_of(start(options=(*WEB, "--log-level", "debug")))
    with page.http:
        page.rpc("agent.status")
        page.http.get(f"/metrics?token={page.token}")
        page.http.get("/nothing", headers={"Authorization": f"Bearer {page.token}x"})
        page.http.post("/rpc", content=b"{", headers={"Content-Type": "application/json"})
        raw(page, f"GET /{page.token} HTTP/9\r\n\r\n".encode())
    page.agent.stop()

    assert page.agent.said("page.ready", url=page.url)
    assert page.token not in json.dumps(page.agent.lines) + page.agent.errors


def test_the_agent_ends_while_pages_are_open(own_page: PageUnderTest) -> None:
    """Each stream ends; nobody has to close a tab first."""
    with own_page.http.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        started = time.monotonic()
        own_page.agent.stop()
        assert [line for line in lines if line] == []

    assert time.monotonic() - started < 5


def test_a_port_that_is_taken_is_said(start: "StartAgent", page: PageUnderTest, short_tmp: Path) -> None:
    """And the second agent leaves nothing behind."""
    second = short_tmp / "second"
    agent = start(
        library=second / "library", socket=second / "s", options=("--web", f"127.0.0.1:{page.port}"), wait=False
    )

    assert agent.wait() == 78
    assert f"127.0.0.1:{page.port}: Address already in use" in agent.errors
    assert not (second / "s").exists()
    assert not (second / "s.token").exists()


def pumas(agent: "AgentUnderTest", *words: str) -> "subprocess.CompletedProcess[str]":
    flags = "--library", str(agent.library), "--socket", str(agent.socket)
    command = [sys.executable, "-m", "pumas_agent", *flags, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_command_prints_the_link(page: PageUnderTest) -> None:
    """The token is in its fragment, which no browser sends to anyone."""
    done = pumas(page.agent, "web")
    as_json = json.loads(pumas(page.agent, "web", "--json").stdout)

    assert (done.returncode, done.stdout) == (0, f"{page.url}#token={page.token}\n")
    status = pumas(page.agent, "status").stdout
    assert page.url in status
    assert page.token not in status
    assert as_json["schema"] == "pumas-agent/web/1"
    assert as_json["url"] == done.stdout.strip()
    assert Path(as_json["token_file"]).read_text() == page.token


def test_an_agent_without_a_page_says_so(agent: "AgentUnderTest") -> None:
    assert agent.client.call("agent.status")["page"] is None
    done = pumas(agent, "web")

    assert done.returncode == 3
    assert "serves no page" in done.stderr
    assert "run --web" in done.stderr


@pytest.fixture
def without_the_extra(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the HTTP stack can be imported."""
    for name in ("starlette", "uvicorn", "h11", "anyio"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError({name!r})\n")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def test_an_agent_without_a_page_imports_nothing_of_it(start: "StartAgent", without_the_extra: dict[str, str]) -> None:
    """It runs where the extra is not installed, and costs what it cost before."""
    agent = start(**without_the_extra)

    assert agent.client.call("agent.health")["healthy"]


def test_a_page_without_the_extra_says_what_to_install(start: "StartAgent", without_the_extra: dict[str, str]) -> None:
    agent = start(options=WEB, wait=False, **without_the_extra)

    assert agent.wait() == 78
    assert "hint: pip install 'pumas-agent[web]'" in agent.errors

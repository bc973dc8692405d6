"""The page in a real browser (Debian's chromium, without a screen), against a real agent.

What a person does and sees: list, search, register, break, relocate, unregister; on a phone, and with the keyboard.
"""

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from pumas_agent.demo.snapshot import differences, snapshot
from pumas_agent.web import page_link
from tests.bench.library import write_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.conftest import AgentUnderTest, MakeBundle, StartAgent

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SEEN_WITHIN_MS = 1000
"""Of what happens on the disk, until it stands on the page."""
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def browser(in_gate: bool) -> Iterator[Browser]:
    """One for all tests of this file; each has a profile of its own in it."""
    if CHROMIUM is None:
        assert not in_gate, "the gate needs chromium"
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A person with a browser. What the browser complains about is collected."""

    agent: "AgentUnderTest"
    browser: Browser
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)
    expected: str = "(?!)"
    """A pattern of complaints that belong to the test: what a browser itself says of a refused or lost request."""

    @property
    def link(self) -> str:
        return page_link(self.agent.client.call("agent.status")["page"], self.agent.socket)

    def tab(self, **options: Any) -> Page:
        """A new one, with nothing in it."""
        context = self.browser.new_context(**options)
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        return tab

    def visit(self, **options: Any) -> Page:
        """The page, live."""
        tab = self.tab(**options)
        tab.goto(self.link)
        expect(tab.get_by_text("live", exact=True)).to_be_visible()
        return tab


@pytest.fixture
def visitor(start: "StartAgent", browser: Browser) -> Iterator[Visitor]:
    """Who visits the page of an agent with an empty library; the browser has nothing to complain about."""
    yield from visiting(Visitor(start(options=("--web", "127.0.0.2:0")), browser))


@pytest.fixture
def guest(shared_agent: "AgentUnderTest", browser: Browser) -> Iterator[Visitor]:
    """Who visits the page of an agent that others visit, too."""
    yield from visiting(Visitor(shared_agent, browser))


def visiting(visitor: Visitor) -> Iterator[Visitor]:
    yield visitor
    for context in visitor.contexts:
        context.close()
    assert [said for said in visitor.complaints if not re.search(visitor.expected, said)] == []


def names(page: Page) -> list[str]:
    """Of the models that are listed, in their order."""
    return page.locator("tbody th a").all_inner_texts()


def row(page: Page, name: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def test_models_are_listed_searched_and_filtered(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """By what the agent answers: text, health, storage, type, format; and all of it is undone at once."""
    for name in ("aurora", "borealis", "corona"):
        visitor.agent.register(make_bundle(name), tags=["winter"] if name == "borealis" else [])
    page = visitor.visit()
    expect(page.get_by_role("status").filter(has_text="1 to 3 of 3")).to_be_visible()
    cells = row(page, "aurora").get_by_role("cell").all_inner_texts()
    assert [cell.replace("\n", " ") for cell in cells[:5]] == [
        "✓ valid",
        "diffusion",
        "external",
        "diffusers",
        "207 kB",
    ]

    search = page.get_by_role("searchbox", name="Search")
    search.fill("bore")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert names(page) == ["borealis"]
    search.fill("winter")
    expect(page.get_by_text("1 to 1 of 1 that match")).to_be_visible()
    search.fill("nothing is called so")
    expect(page.get_by_text("No model matches.")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("tbody tr")).to_have_count(3)

    for label, value, count in (
        ("Health", "degraded", 0),
        ("Storage", "library", 0),
        ("Type", "diffusion", 3),
        ("Format", "diffusers", 3),
    ):
        page.get_by_label(label, exact=True).select_option(label=value)
        expect(page.locator("tbody tr")).to_have_count(count)
        page.get_by_role("button", name="Show all").click()
        expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("button", name="3 valid").click()
    expect(page.get_by_label("Health", exact=True)).to_have_value("valid")


def test_a_large_library_is_turned_page_by_page(start: "StartAgent", browser: Browser, short_tmp: Path) -> None:
    """Fifty models at a time; a model of the library's own is neither relocated nor unregistered."""
    write_library(short_tmp / "library", 120, [])
    visitors = visiting(Visitor(start(options=("--web", "127.0.0.1:0")), browser))
    page = next(visitors).visit()
    expect(page.get_by_text("1 to 50 of 120")).to_be_visible()
    pages = page.get_by_role("navigation", name="Pages of the list")
    expect(pages.get_by_role("button", name="Previous")).to_be_disabled()

    for said in ("51 to 100 of 120", "101 to 120 of 120"):
        pages.get_by_role("button", name="Next").click()
        expect(page.get_by_text(said)).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(20)
    expect(pages.get_by_role("button", name="Next")).to_be_disabled()

    page.locator("tbody th a").last.click()
    expect(page.get_by_text("the library's own")).to_be_visible()
    assert page.locator("main button").all_inner_texts() == ["Look again"]
    page.get_by_role("link", name="All models").click()
    expect(page.get_by_text("101 to 120 of 120")).to_be_visible()
    assert list(visitors) == []


def test_a_bundle_is_registered_from_a_pasted_path(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """See the verdict, keep the names that are proposed, register, see the model. Nothing below the folder changes."""
    root = make_bundle("tiny")
    before = snapshot(root.parent)
    page = visitor.visit()

    page.get_by_role("link", name="Register a bundle").click()
    page.get_by_label("Folder, on the machine of the agent").fill(str(root))
    page.get_by_role("button", name="Look at it").click()
    verdict = page.get_by_role("region", name="StableDiffusionPipeline")
    expect(verdict.get_by_text("valid", exact=True)).to_be_visible()
    expect(verdict.get_by_label("Family")).to_have_value("imported")
    expect(verdict.get_by_label("Name", exact=True)).to_have_value("tiny")
    page.get_by_role("button", name="Register").click()

    expect(page.get_by_role("heading", name="tiny", exact=True)).to_be_visible()
    expect(page.get_by_text("valid: every rule holds now")).to_be_visible()
    assert visitor.agent.state("diffusion/imported/tiny") == "valid"
    assert differences(before, snapshot(root.parent)) == []


def test_bundles_below_a_folder_are_found_and_chosen(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """Those that are registered lead to their model; one that is not valid shows why, and needs a word more."""
    visitor.agent.register(make_bundle("known"))
    broken = make_bundle("broken")
    shutil.rmtree(broken / "vae")
    page = visitor.visit()
    page.get_by_role("link", name="Register a bundle").click()

    page.get_by_label("Folder, on the machine of the agent").fill(str(broken.parent))
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_text("a folder with several models").first).to_be_visible()
    page.get_by_role("button", name="Find bundles below it").click()
    expect(page.get_by_role("link", name="See diffusion/acme/known")).to_be_visible()
    page.get_by_role("button", name=f"Choose {broken}").click()

    expect(page.get_by_text("component 'vae' is missing").last).to_be_visible()
    expect(page.get_by_text("Fetch the folder again, or put back what was moved.")).to_be_visible()
    register = page.get_by_role("button", name="Register")
    register.click()  # the browser asks for the box first
    assert visitor.agent.model("diffusion/imported/broken") is None
    page.get_by_label("Register it although it is not valid").check()
    register.click()
    expect(page.get_by_role("heading", name="broken", exact=True)).to_be_visible()
    expect(page.get_by_text("invalid", exact=True)).to_be_visible()
    assert visitor.agent.state("diffusion/imported/broken") == "invalid"


def test_errors_are_shown_with_what_to_do(guest: Visitor, make_bundle: "MakeBundle") -> None:
    guest.agent.register(make_bundle("one"), official_name="taken")
    other = make_bundle("other")
    page = guest.visit()
    page.goto(page.url.replace("#/", "#/register"))

    page.get_by_label("Folder, on the machine of the agent").fill("relative/path")
    page.get_by_role("button", name="Find bundles below it").click()
    expect(page.get_by_role("alert")).to_contain_text("relative/path")
    page.get_by_label("Folder, on the machine of the agent").fill(str(other))
    page.get_by_role("button", name="Look at it").click()
    page.get_by_label("Family").fill("acme")
    page.get_by_label("Name", exact=True).fill("taken")
    page.get_by_role("button", name="Register").click()

    expect(page.get_by_role("alert")).to_contain_text("already exists")
    expect(page.get_by_role("link", name="diffusion/acme/taken")).to_be_visible()


def test_a_bundle_that_breaks_is_seen_within_a_second(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """Without a reload: the alert at the top, with what to do, the row, the title; and the other way round."""
    root = make_bundle("tiny")
    visitor.agent.register(root)
    visitor.agent.settled()
    page = visitor.visit()
    expect(page.get_by_text("Nothing is wrong")).to_be_visible()

    (root / "unet").rename(root.parent / "unet-away")
    alert = page.get_by_role("region", name="Alerts").get_by_role("listitem")
    expect(alert).to_contain_text("bundle_incomplete", timeout=SEEN_WITHIN_MS)
    expect(alert).to_contain_text("component 'unet' is missing")
    expect(alert).to_contain_text("restore what the findings name")
    expect(row(page, "tiny")).to_contain_text("degraded")
    expect(page).to_have_title("(1) pumas-agent")
    expect(page.locator("[aria-live]")).to_have_text("bundle_incomplete raised: diffusion/acme/tiny")
    alert.get_by_role("link").click()
    expect(page.get_by_text("Fetch the folder again, or put back what was moved.")).to_be_visible()

    (root.parent / "unet-away").rename(root / "unet")
    expect(page.get_by_text("valid: every rule holds now")).to_be_visible(timeout=SEEN_WITHIN_MS)
    expect(page).to_have_title("pumas-agent")


def test_a_bundle_that_moved_is_relocated_by_its_plan(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """The plan writes nothing; another bundle is refused, or taken when somebody says so."""
    root, other = make_bundle("tiny"), make_bundle("other")
    model_id = visitor.agent.register(root)
    moved = root.with_name("moved")
    root.rename(moved)
    before = snapshot(moved.parent)
    page = visitor.visit()
    page.goto(page.url + "model/" + model_id.replace("/", "%2F"))

    page.get_by_role("button", name="Relocate …").click()
    dialog = page.get_by_role("dialog", name="Relocate")
    apply = dialog.get_by_role("button", name="Relocate")
    expect(apply).to_be_disabled()
    dialog.get_by_label("Where the bundle is now").fill(str(other))
    dialog.get_by_role("button", name="Show the plan").click()
    expect(dialog.get_by_text("refused")).to_be_visible()
    expect(apply).to_be_disabled()
    dialog.get_by_label("Where the bundle is now").fill(str(moved))
    dialog.get_by_role("button", name="Show the plan").click()
    expect(dialog.get_by_text("the same bundle, proven")).to_be_visible()
    assert visitor.agent.model(model_id)["entry_path"] == str(root)  # type: ignore[index]  # it is there
    apply.click()

    expect(dialog).to_be_hidden()
    expect(page.get_by_text("valid: every rule holds now")).to_be_visible()
    expect(page.get_by_role("definition").filter(has_text=str(moved))).to_be_visible()
    assert visitor.agent.state(model_id) == "valid"
    assert differences(before, snapshot(moved.parent)) == []


def test_a_bundle_is_unregistered_by_its_plan(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """Which says what goes and what stays; Escape leaves all as it is."""
    root = make_bundle("tiny")
    model_id = visitor.agent.register(root)
    before = snapshot(root)
    page = visitor.visit()
    row(page, "tiny").get_by_role("link").click()

    page.get_by_role("button", name="Unregister …").click()
    dialog = page.get_by_role("dialog", name="Unregister")
    expect(dialog.get_by_text(str(root))).to_be_visible()
    expect(dialog.get_by_text(str(visitor.agent.library / model_id))).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert visitor.agent.model(model_id) is not None
    page.get_by_role("button", name="Unregister …").click()
    dialog.get_by_role("button", name="Unregister").click()

    expect(page.get_by_text("There is no model yet")).to_be_visible()
    assert visitor.agent.model(model_id) is None
    assert differences(before, snapshot(root)) == []


def test_the_token_leaves_the_address_and_stays_in_its_tab(guest: Visitor) -> None:
    page = guest.visit()

    assert page.url.endswith("/#/")
    assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
    page.reload()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.get_by_text("This page needs its token")).to_be_visible()
    expect(second.get_by_text("pumas-agent web")).to_be_visible()


def test_a_wrong_token_shows_nothing_and_says_how_to_get_another(guest: Visitor) -> None:
    guest.expected = "401"
    tab = guest.tab()
    tab.goto(re.sub(r"token=.*", "token=wrong", guest.link))

    expect(tab.get_by_text("The agent does not know the one that this page has")).to_be_visible()
    assert str(guest.agent.library) not in tab.content()
    tab.goto(guest.link)
    expect(tab.get_by_text("live", exact=True)).to_be_visible()


def test_names_from_the_disk_are_text(guest: Visitor, make_bundle: "MakeBundle") -> None:
    """Neither markup nor a direction of writing: in the list, in the model, in the dialogs, while registering."""
    evil = '<img src=x onerror="document.title=1">'
    turned = "abc\u202egpj.exe"
    root = make_bundle(evil)
    model_id = guest.agent.register(root, tags=["<b>bold</b>"], official_name=turned)
    (root / "unet" / "config.json").unlink()
    page = guest.visit()

    expect(page.get_by_role("link", name="abc\\u202egpj.exe")).to_be_visible()
    expect(page.get_by_text(str(root)).first).to_be_visible()
    page.goto(page.url + "model/" + model_id.replace("/", "%2F"))
    expect(page.get_by_text("<b>bold</b>", exact=True)).to_be_visible()
    page.get_by_role("button", name="Unregister …").click()
    expect(page.get_by_role("dialog").get_by_text(str(root))).to_be_visible()
    page.keyboard.press("Escape")
    page.goto(re.sub("#.*", "#/register", page.url))
    page.get_by_label("Folder, on the machine of the agent").fill(str(root.parent))
    page.get_by_role("button", name="Find bundles below it").click()
    expect(page.get_by_text(evil).first).to_be_visible()

    assert page.locator("main img, main b").count() == 0
    assert re.fullmatch(r"(\(\d+\) )?pumas-agent", page.title())


def test_no_script_can_make_markup(guest: Visitor) -> None:
    """The policy forbids it to our own code as well."""
    guest.expected = "TrustedHTML"
    page = guest.visit()

    caught = page.evaluate(
        "() => { try { document.body.innerHTML = '<p>x'; return 'made' } catch (e) { return e.name } }"
    )

    assert caught == "TypeError"


def test_a_phone_scrolls_in_one_direction(guest: Visitor, make_bundle: "MakeBundle", tmp_path: Path) -> None:
    """In every view, also with names of which no part can be broken; what can be touched is large enough."""
    deep = tmp_path / ("a" * 200) / ("b" * 120)
    model_id = guest.agent.register(make_bundle("w" * 180, parent=deep))
    shutil.rmtree(deep / ("w" * 180) / "unet")
    page = guest.visit(**PHONE)
    home = page.url

    for where in ("", "model/" + model_id.replace("/", "%2F"), "register"):
        page.goto(home + where)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("loading …")).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, where
        small = page.evaluate(
            "[...document.querySelectorAll('button, select, input')].filter(e => e.checkVisibility()"
            " && e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"
        )
        assert small == []
    page.goto(home + "model/" + model_id.replace("/", "%2F"))
    page.get_by_role("button", name="Relocate …").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_all_of_it_works_with_the_keyboard(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """In the order of the eye, with the focus to be seen; a dialog keeps it, and gives it back."""
    visitor.agent.register(make_bundle("tiny"))
    page = visitor.visit()
    expect(page.get_by_role("link", name="tiny", exact=True)).to_be_visible()

    walked = []
    for _ in range(12):
        page.keyboard.press("Tab")
        walked.append(
            page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()")
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", walked
        if walked[-1] == "tiny":
            break
    assert walked == [
        "Skip to the models",
        "pumas-agent",
        "Register a bundle",
        "✓1 valid",
        "Search",
        "Health",
        "Type",
        "Storage",
        "Format",
        "tiny",
    ]

    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="tiny", exact=True)).to_be_focused()
    page.get_by_role("button", name="Relocate …").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Where the bundle is now")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Relocate …")).to_be_focused()


def test_everything_that_can_be_used_has_a_name(guest: Visitor, make_bundle: "MakeBundle") -> None:
    """As the browser tells it to a screen reader; each view has one heading of the first level and one main part."""
    model_id = guest.agent.register(make_bundle("tiny"))
    page = guest.visit()
    home = page.url

    for where in ("", "model/" + model_id.replace("/", "%2F"), "register"):
        page.goto(home + where)
        expect(page.get_by_text("loading …")).to_be_hidden()
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        said = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
        usable = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "dialog"}
        assert [role for role, name in said if role in usable and not name.strip()] == [], where
        assert len([role for role, _ in said if role == "main"]) == 1
        assert page.locator("h1").count() == 1
        assert page.locator("[id]").evaluate_all("all => all.length - new Set(all.map(e => e.id)).size") == 0
    assert page.evaluate("document.documentElement.lang") == "en"


class Tunnel:
    """Forwards the port of the page from another address of this machine, as `ssh -L` does, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._open: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._target[1]))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, far = listener.accept()[0], socket.create_connection(self._target)
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def test_a_lost_connection_is_shown_and_mends_itself(visitor: Visitor, make_bundle: "MakeBundle") -> None:
    """What happened meanwhile is there when it is back; the page also works through a tunnel."""
    visitor.expected = "net::ERR_"
    host, _, port = visitor.link.removeprefix("http://").partition("/")[0].partition(":")
    tunnel = Tunnel(host, int(port))
    page = visitor.tab()
    page.goto(visitor.link.replace(host, "127.0.0.1"))
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    tunnel.cut()
    expect(page.get_by_text("connection lost, trying again")).to_be_visible()
    visitor.agent.register(make_bundle("meanwhile"))
    tunnel.mend()

    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="meanwhile", exact=True)).to_be_visible()
    tunnel.cut()


def test_a_page_is_told_when_its_agent_was_started_again(visitor: Visitor, start: "StartAgent") -> None:
    """Its token is no longer one: it says where the new one is."""
    visitor.expected = "net::ERR_|401"
    page = visitor.visit()
    address = visitor.link.removeprefix("http://").partition("/")[0]

    visitor.agent.stop()
    visitor.agent = start(options=("--web", address))

    expect(page.get_by_text("it was started again since")).to_be_visible()


FAINT = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => [red, green, blue]
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const found = parts(getComputedStyle(element).backgroundColor);
      if (found[3] !== 0) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const faint = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest(":disabled, .skip, .unseen")) continue;
    const [one, other] = [parts(getComputedStyle(element).color), ground(element)].map(luminance);
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)}: ${node.data}`);
  }
  return faint;
}"""
"""The texts on the screen with less contrast to what is behind them than WCAG 2.2 asks for (AA, 1.4.3)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_colours_of_the_system_and_can_be_read_in_both(
    guest: Visitor, make_bundle: "MakeBundle", scheme: str
) -> None:
    """In each view, with something wrong, and in a dialog."""
    root = make_bundle(scheme)
    model_id = guest.agent.register(root)
    (root / "unet" / "config.json").unlink()
    page = guest.visit(color_scheme=scheme)
    home = page.url

    red = int(re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[0])
    assert (red > 200) == (scheme == "light")
    expect(page.get_by_role("region", name="Alerts")).to_be_visible()
    assert page.evaluate(FAINT) == []
    page.goto(home + "register")
    page.get_by_label("Folder, on the machine of the agent").fill(str(root))
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_label("Register it although it is not valid")).to_be_visible()
    assert page.evaluate(FAINT) == []
    page.goto(home + "model/" + model_id.replace("/", "%2F"))
    expect(page.get_by_role("heading", name="What is wrong")).to_be_visible()
    assert page.evaluate(FAINT) == []
    page.get_by_role("button", name="Unregister …").click()
    expect(page.get_by_role("dialog").get_by_text("Stays")).to_be_visible()
    assert page.evaluate(FAINT) == []


def test_a_tab_that_nobody_sees_gives_its_connection_back(visitor: Visitor, until: "Callable[..., Any]") -> None:
    """And is true again when somebody looks: a browser has few connections to one place."""
    page = visitor.tab()
    page.clock.install()
    page.goto(visitor.link)
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    def subscriptions() -> str:
        metrics = str(visitor.agent.client.call("agent.metrics")["text"])
        return str(re.findall(r"^pumas_agent_subscriptions (\S+)", metrics, re.MULTILINE)[0])

    def seen(*, hidden: bool) -> None:
        page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden', { get: () => hidden, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')) }",
            hidden,
        )

    assert subscriptions() == "1"
    seen(hidden=True)
    page.clock.fast_forward(61_000)
    until(lambda: subscriptions() == "0", "that its stream has ended")
    seen(hidden=False)
    until(lambda: subscriptions() == "1", "that it has a stream again")

"""The documentation is whole: it names everything there is, nothing else, and its links lead somewhere."""

import ast
import json
import plistlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import click
import pytest

from pumas_agent import client
from pumas_agent.bundles import FindingCode
from pumas_agent.cli import BROKEN_PIPE, INTERRUPTED, USAGE
from pumas_agent.cli.program import program
from pumas_agent.cli.service_files import launchd_plist
from pumas_agent.contracts import errors
from pumas_agent.contracts.doctor import CheckName
from pumas_agent.contracts.events import Transition
from pumas_agent.contracts.health import SEVERITIES, AlertCode
from pumas_agent.contracts.mapping import SkipReason
from pumas_agent.contracts.rpc import METHODS, Access
from pumas_agent.contracts.verification import DifferenceCode
from pumas_agent.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
SOURCES = sorted((ROOT / "pumas_agent").rglob("*.py"))
_EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
_VARIABLES = (
    "PUMAS_AGENT_",
    "XDG_",
    "HF_",
    "HUGGINGFACE_",
    "HOME",
    "SUDO_",
    "NOTIFY_",
    "WATCHDOG_",
    "LISTEN_",
    "JOURNAL_",
    "SYSTEMD_",
)
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PumasError)]


def _rows(page: str) -> list[list[str]]:
    """The cells of the rows of every table, without its head, links and code marks."""
    tables = re.findall(r"^\| ---.*\n((?:\|.*\n)+)", (REFERENCE / page).read_text(), re.MULTILINE)
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for table in tables for line in table.splitlines()]
    return [[re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).strip().strip("`") for cell in row] for row in rows]


def _headings(text: str) -> list[str]:
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [match[1].replace("`", "") for match in re.finditer(r"^#+ (.+)$", without_code, re.MULTILINE)]


def _page_headings(page: str) -> list[str]:
    return _headings((REFERENCE / page).read_text())


def test_every_method_is_in_the_reference() -> None:
    """And the reference has no other."""
    assert _page_headings("rpc.md")[1:] == list(METHODS)


def test_every_kind_of_access_is_explained() -> None:
    """Where the methods stand; and which look at any path is said where it is said who may."""
    methods, security = (REFERENCE / "rpc.md").read_text(), (DOCS / "explanation" / "security.md").read_text()

    assert [access for access in Access if f"`{access}` methods" not in methods] == []
    looking = [method.name for method in METHODS.values() if method.access is Access.LOOK]
    assert [name for name in looking if f"`{name}`" not in security] == []


def test_every_alert_is_in_the_reference() -> None:
    """With its severity, and a part of its own, which the log's `doc` leads to."""
    listed = {row[0]: row[1] for row in _rows("alerts.md")}

    assert listed == {code.value: SEVERITIES[code].value for code in AlertCode}
    assert _page_headings("alerts.md")[1:] == list(listed)


@pytest.mark.parametrize("code", list(AlertCode))
def test_every_alert_has_a_runbook(code: AlertCode) -> None:
    """What it means, what its evidence is, what to check, what to do, and how it ends; the log's `doc` leads there."""
    text = (REFERENCE / "alerts.md").read_text()
    (runbook,) = re.findall(rf"^## {code}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    meaning, *points = re.split(r"^- \*\*(\w+):\*\* ", runbook, flags=re.MULTILINE)

    assert len(meaning.split()) > 5
    assert points[::2] == ["Evidence", "Check", "Do", "Clears"]
    assert all(words.strip() for words in points[1::2])


def test_every_setting_is_in_the_reference() -> None:
    """And the reference has no other."""
    settings = [
        f"{section}.{key}" for section, field in Settings.model_fields.items() for key in _keys(field.annotation)
    ]

    assert [row[0] for row in _rows("settings.md")] == settings


def _keys(model: object) -> list[str]:
    return list(getattr(model, "model_fields", ()))


def test_every_error_code_is_in_the_reference() -> None:
    """With its two numbers, and the reference has no other."""
    listed = {row[0]: (row[1], row[2]) for row in _rows("errors.md")}

    assert listed == {kind.code: (str(kind.rpc_code), str(kind.exit_code)) for kind in ERRORS}


def test_every_exit_code_is_in_the_reference() -> None:
    """Those of errors and those of the command line, and no other."""
    listed = {int(row[0]) for row in _rows("exit-codes.md")}

    assert listed == {0, USAGE, INTERRUPTED, BROKEN_PIPE, *(kind.exit_code for kind in ERRORS)}


def test_every_command_is_in_the_reference() -> None:
    """And the reference has no other."""
    assert _page_headings("cli.md")[1:] == [f"pumas-agent {name}" for name in program.commands]


def _shared() -> dict[str, str]:
    """Files and folders that are installed beside the code, and where."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    return dict(wheel["shared-data"])


def test_every_page_comes_with_the_package() -> None:
    """Under the name that an alert has for it, so that its runbook is there where the agent runs."""
    pages = {f"docs/{page.relative_to(DOCS).parts[0]}" for page in DOCS.rglob("*.md")}

    assert {page: f"share/doc/pumas-agent/{page}" for page in pages}.items() <= _shared().items()


def test_every_command_is_in_the_manual_page() -> None:
    """Which is installed where `man` looks for it."""
    page = (DOCS / "man" / "pumas-agent.1").read_text()

    assert _shared()["docs/man/pumas-agent.1"] == "share/man/man1/pumas-agent.1"
    assert set(re.findall(r"^\.SS (\w+)", page, re.MULTILINE)) == set(program.commands)


def test_every_part_of_a_command_is_in_the_reference() -> None:
    """Under the command that it is a part of, with its usage."""
    page = (REFERENCE / "cli.md").read_text()
    parts = {
        f"{name} {part}"
        for name, command in program.commands.items()
        if isinstance(command, click.Group)
        for part in command.commands
    }

    assert {part for part in parts if f"Usage: pumas-agent {part} " in page} == parts != set()


def test_every_finding_is_in_the_reference() -> None:
    """With what it means and what to do, and the reference has no other."""
    listed = re.findall(r"^\| `(\w+)` \|", (REFERENCE / "findings.md").read_text(), re.MULTILINE)

    assert listed == sorted(FindingCode)


def test_every_event_of_the_log_is_in_the_reference() -> None:
    """And the reference has no other."""
    listed = [row[0] for row in _rows("log.md")]

    assert sorted(listed) == sorted({*_logged(), *(f"alert.{transition}" for transition in Transition)})


def _logged() -> Iterator[str]:
    """The first text of each call that logs, `log.x("event", …)` or `say("event", …)`, and of a line made by hand."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.search(r"\blog\b|\b_log\b|^say$", ast.unparse(node.func)):
                yield from (text for arg in node.args[:2] for text in _texts(arg) if _EVENT.fullmatch(text))
            elif isinstance(node, ast.Dict):
                keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
                if {"event", "level", "timestamp"} <= set(keys):
                    yield from _texts(node.values[keys.index("event")])


def _texts(node: ast.expr) -> list[str]:
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def test_every_variable_of_the_environment_is_in_the_reference() -> None:
    """And the reference has no other. Those of settings follow a rule and stand there as a rule."""
    read = {
        text
        for path in SOURCES
        for text in re.findall(r"[\"'](_?[A-Z]+_[A-Z_]*[A-Z]|HOME)[\"']", path.read_text())
        if text.removeprefix("_").startswith(_VARIABLES)
    }
    listed = {name for row in _rows("environment.md") for name in re.findall(r"\w+", row[0])}

    assert listed == read


def test_every_error_of_the_command_line_alone_is_in_the_reference() -> None:
    """They are of no contract over the socket, so they have no row in the table of errors."""
    codes = {
        code
        for path in (ROOT / "pumas_agent" / "cli").glob("*.py")
        for code in re.findall(r"^    code = \"(\w+)\"$", path.read_text(), re.MULTILINE)
    }
    text = (REFERENCE / "exit-codes.md").read_text()

    assert codes
    assert {code for code in codes if f"`{code}` (" not in text} == set()


def test_every_line_of_the_plist_is_explained() -> None:
    """In the guide: the file itself has no room for a reason. That the units have one is tested with them."""
    text = (DOCS / "how-to" / "run-as-a-service.md").read_text()
    rows = re.findall(r"^\| (`[A-Z].*?) \|", text, re.MULTILINE)
    keys = plistlib.loads(launchd_plist(["/bin/pumas-agent", "run"], Path("/log")).encode())

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} >= set(keys)


def test_every_public_name_of_the_client_is_in_the_reference() -> None:
    """With the methods of its classes, and the reference has no other."""
    names = set(client.__all__)
    for kind in (client.AgentClient, client.AsyncAgentClient):
        names |= {f"{kind.__name__}.{name}" for name in vars(kind) if not name.startswith("_")}

    assert set(_page_headings("python-client.md")[1:]) == names


def test_every_table_of_the_index_is_in_the_format() -> None:
    """By name, or as one of the rule tables of the existing application, which the agent never writes."""
    text = (REFERENCE / "on-disk-format.md").read_text()
    scripts = "".join(path.read_text() for path in (ROOT / "pumas_agent/library/migrations").glob("*.sql"))
    tables = set(re.findall(r"CREATE (?:VIRTUAL )?TABLE (?:IF NOT EXISTS )?(\w+)", scripts))

    assert {table for table in tables if f"`{table}`" not in text} == set()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("search-and-check.md", DifferenceCode),
        ("when-something-is-wrong.md", CheckName),
        ("map-into-applications.md", SkipReason),
    ],
)
def test_every_word_that_a_command_says_is_on_its_page(page: str, words: type[StrEnum]) -> None:
    """With what it means, in a table of the guide."""
    text = "".join(line for line in (DOCS / "how-to" / page).read_text().splitlines() if line.startswith("| `"))

    assert [word for word in words if f"`{word}`" not in text] == []


def test_every_page_is_on_the_map() -> None:
    """What docs/README.md does not lead to is not found by anyone."""
    led_to = {(DOCS / link).resolve() for link, _ in _links(DOCS / "README.md")}

    assert {page for page in PAGES if page.is_relative_to(DOCS)} - {DOCS / "README.md"} <= led_to


def test_the_map_goes_from_learning_to_deciding() -> None:
    """Learn, do, look up, understand; then the decisions, by their numbers."""
    folders = [link.partition("/")[0] for link, _ in _links(DOCS / "README.md") if link.endswith(".md")]
    decisions = [link for link, _ in _links(DOCS / "README.md") if link.startswith("adr/")]

    assert list(dict.fromkeys(folders)) == ["tutorial", "how-to", "reference", "explanation", "adr"]
    assert folders == sorted(folders, key=list(dict.fromkeys(folders)).index)
    assert decisions == sorted(decisions)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file or folder that is there and, where it names a part of a page, to a heading of it."""
    broken = [f"{link}#{anchor}" for link, anchor in _links(page) if not _leads_somewhere(page, link, anchor)]

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_line_is_one(page: Path) -> None:
    """A command, options and arguments that are there, in every block for a terminal. Nothing is run."""
    assert [line for line in _command_lines(page.read_text()) if not _understood(line)] == []


def test_a_command_line_that_is_none_is_found() -> None:
    """An option, a command or an argument too many; what the page stands for, such as `ID`, is an argument."""
    wrong = ["pumas-agent list --nope", "pumas-agent lsit", "pumas-agent status more", "pumas-agent register"]

    assert [line for line in wrong if _understood(line)] == []
    assert _understood("pumas-agent relocate ID NEW_PATH --plan")
    assert list(_command_lines("```sh\n$ sudo pumas-agent list | cat  # all\n```\n")) == ["pumas-agent list"]


def _command_lines(text: str) -> Iterator[str]:
    """What is typed, without what stands before the name, a comment, and what follows a pipe."""
    for block in re.findall(r"^```(?:console|sh)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", "").splitlines():
            typed = re.match(r"(?:\$ )?(?:sudo |\S*/)?(?=pumas-agent )", line)
            if typed:
                yield re.split(r" +(?:#|\||&&|>|\d>)", line[typed.end() :])[0].strip()


def _understood(line: str) -> bool:
    command: click.Command = program
    context = click.Context(command, info_name="pumas-agent", **command.context_settings)
    words = shlex.split(line)[1:]
    try:
        while isinstance(command, click.Group):
            _, words, _ = command.make_parser(context).parse_args(words)
            if not words:
                return True
            command = command.commands[words.pop(0)]
            context = click.Context(command, parent=context)
        command.make_context(None, words, parent=context.parent)
    except click.exceptions.Exit:
        pass  # --help
    except click.BadParameter as error:
        return type(error) is click.BadParameter  # a file that is not here; a missing argument is a kind of it
    except (click.UsageError, KeyError):
        return False
    return True


def _links(page: Path) -> Iterator[tuple[str, str]]:
    """Relative links: the path, and the part of the page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            link, _, anchor = target.partition("#")
            yield link, anchor


def _leads_somewhere(page: Path, link: str, anchor: str) -> bool:
    target = (page.parent / link).resolve() if link else page
    if not anchor:
        return target.exists()
    return anchor in {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in _headings(target.read_text())}


def test_every_law_is_explained_and_held_by_tests_that_are_there() -> None:
    """The same ten in the architecture and on their page; a test that stands beside another is in the same file."""
    listed = re.findall(r"^\d+\. \*\*(.+?)\.\*\*", (DOCS / "explanation" / "architecture.md").read_text(), re.MULTILINE)
    parts = re.split(r"^## \d+\. ", (DOCS / "explanation" / "laws.md").read_text(), flags=re.MULTILINE)[1:]

    assert [part.partition("\n")[0] for part in parts] == listed
    assert len(listed) == 10
    for part in parts:
        held = re.findall(r"`(?:(tests/\S+\.py)::)?(test_\w+)`", part)
        files = [(ROOT / file).read_text() for file, _ in held if file]
        assert files
        assert [name for _, name in held if not any(re.search(rf"def {name}\b", text) for text in files)] == []


@pytest.mark.parametrize("part", sorted(path.parent.name for path in ROOT.glob("pumas_agent/*/__init__.py")))
def test_every_part_says_what_it_owns(part: str) -> None:
    """In a README.md of its folder (R14)."""
    assert (ROOT / "pumas_agent" / part / "README.md").is_file()


def test_every_requirement_that_holds_is_shown_by_a_test() -> None:
    """The tests that show one name it."""
    held = [row[0] for row in _rows("requirements.md") if "holds" in row[2] or "hold;" in row[2]]
    tests = "".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))

    assert held
    assert [number for number in held if not re.search(rf"\b{number}\b", tests)] == []


def test_it_is_built_on_the_packages_that_were_given() -> None:
    """R29."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}

    assert {"watchdog", "pydantic", "apscheduler", "structlog", "psutil"} <= named
    assert any(line.startswith("pytest") for line in project["optional-dependencies"]["dev"])


def test_every_case_that_a_test_names_is_written_down() -> None:
    """In tests/data: a number alone says nothing."""
    cases = {case["id"]: case["then"] for case in json.loads((ROOT / "tests/data/behaviour-cases.json").read_text())}
    areas = "|".join({name.rsplit("-", 1)[0] for name in cases})
    tests = "".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))

    assert set(re.findall(rf"\b(?:{areas})-\d{{3}}\b", tests)) == set(cases)

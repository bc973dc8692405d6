"""The examples in config/ for Grafana, Loki and Alertmanager: they can be read, and what they name is there."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pumas_agent.contracts.health import Alert, AlertCode, Severity
from tests.exposition import parse

if TYPE_CHECKING:
    from tests.service.conftest import AgentUnderTest, MakeBundle

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
GIVEN_BY_PROMETHEUS = {"instance", "job"}
SAID_OF_A_LINE = {"event", "level", "timestamp", "doc"}


class _Strict(yaml.SafeLoader):
    """A key that is there twice is an error, as it is for those who read these files."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        assert len(set(names)) == len(names), names
        return super().construct_mapping(node, deep)


def read(name: str) -> Any:
    return yaml.load((CONFIG / name).read_text(), Loader=_Strict)  # noqa: S506 - a SafeLoader that is stricter


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in read(name)["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((CONFIG / "grafana-dashboard.json").read_text())["panels"]
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def selectors(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Each metric of an expression with the labels that it is asked for."""
    found = re.findall(r"\b(pumas_agent_\w+)(?:\{([^}]*)\})?", expression)
    return [(name, dict(re.findall(r'(\w+)\s*=~?\s*"([^"]*)"', labels))) for name, labels in found]


@pytest.fixture
def measured(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> dict[str, set[tuple[str, str]]]:
    """The labels of each metric of an agent on which something is wrong."""
    root = make_bundle()
    agent.register(root)
    (root / "model_index.json").unlink()
    agent.wait_for("alert.raised")
    text = agent.client.call("agent.metrics")["text"]
    return {name: {label for labels in samples for label in labels} for name, (_, _, samples) in parse(text).items()}


def test_every_metric_of_the_board_is_measured_and_every_measured_one_is_on_it(
    measured: dict[str, set[tuple[str, str]]],
) -> None:
    """With the labels that it asks for, and the values that it spells out."""
    asked = [selector for query in queries() for selector in selectors(query)]

    assert {name for name, _ in asked} == set(measured)
    for name, labels in asked:
        for label, value in labels.items():
            if label not in GIVEN_BY_PROMETHEUS:
                assert (label, value) in measured[name]
    for query in queries():
        grouped = {name.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for name in labels.split(",")}
        known = GIVEN_BY_PROMETHEUS | {label for name, _ in selectors(query) for label, _ in measured[name]}
        assert grouped <= known, query


def test_the_board_can_be_loaded_anywhere() -> None:
    """Ids are unique, nothing lies on anything else, and which Prometheus it is, is chosen on the board."""
    board = json.loads((CONFIG / "grafana-dashboard.json").read_text())
    ids = [panel["id"] for panel in panels()]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(set(ids)) == len(ids) > 20
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "instance"]
    for panel in panels():
        if panel["type"] != "row":
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            assert {source["uid"] for source in sources} == {"${datasource}"}
            assert panel["description"]
            assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("name", ["prometheus-alerts.yml", "loki-rules.yml"])
def test_every_rule_has_what_a_person_needs(name: str) -> None:
    """A name of its own, an expression whose brackets close, a severity that the route knows, and a sentence."""
    found = rules(name)

    assert len({rule["alert"] for rule in found}) == len(found) > 5
    for rule in found:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["alert"].startswith("PumasAgent")
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]
        assert all(rule["expr"].count(a) == rule["expr"].count(b) for a, b in ("()", "[]", "{}"))
        assert rule["expr"].count('"') % 2 == 0


def test_rules_on_figures_ask_for_labels_that_there_are(measured: dict[str, set[tuple[str, str]]]) -> None:
    for rule in rules("prometheus-alerts.yml"):
        for name, labels in selectors(rule["expr"]):
            assert labels.keys() <= {label for label, _ in measured[name]} | GIVEN_BY_PROMETHEUS, rule["alert"]


def test_rules_on_the_log_name_what_the_log_has() -> None:
    """Every event is one that the agent says, every code and severity one that it knows, every field one of a line."""
    sources = "".join(path.read_text() for path in (ROOT / "pumas_agent").rglob("*.py"))
    said = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', sources)) | {f"alert.{name}" for name in ("raised", "cleared")}
    kept = set(re.findall(r"\b(\w+) *= *\"\"", (CONFIG / "loki-alloy.alloy").read_text()))
    for rule in rules("loki-rules.yml"):
        expression = rule["expr"]
        compared = re.findall(r'\b(\w+)(=~|!=|=)"([^"]*)"', expression.replace("| json", ""))
        extracted = dict(re.findall(r'(\w+)="([^"]*)"', "".join(re.findall(r"\| json ([^|]*)", expression))))
        for label, operator, value in compared:
            if (label, value) in extracted.items():
                continue
            if label == "event":
                names = re.fullmatch(r"hook\[\.\]\((.+)\)", value)
                wanted = {f"hook.{name}" for name in names[1].split("|")} if names else {value}
                assert wanted <= said, expression
            elif label == "code" and value:
                assert value in set(AlertCode)
            elif label in {"severity", "level"}:
                assert set(value.split("|")) <= set(Severity)
            elif operator != "!=":
                assert (label, value) in {("job", "pumas-agent"), ("code", "")}
        assert {field.partition(".")[0] for field in extracted.values()} <= {
            *Alert.model_fields,
            *SAID_OF_A_LINE,
            "count",
        }
        grouped = {name.strip() for labels in re.findall(r"by \(([^)]*)\)", expression) for name in labels.split(",")}
        assert grouped <= {"instance", *kept, *extracted}, expression


def test_the_log_is_taken_apart_by_fields_that_it_has(agent: "AgentUnderTest", make_bundle: "MakeBundle") -> None:
    """And the line of an alert is found by the very text that the agent writes."""
    text = (CONFIG / "loki-alloy.alloy").read_text()
    root = make_bundle()
    agent.register(root)
    (root / "model_index.json").unlink()
    line = agent.wait_for("alert.raised")

    (expressions,) = re.findall(r"expressions = \{(.*)\}", text)
    (selector,) = re.findall(r'selector = `\{job="pumas-agent"\} \|= "(.*)"`', text)
    taken = set(re.findall(r"(\w+) =", expressions))
    labelled = {name for names in re.findall(r"values = \{(.*)\}", text) for name in re.findall(r"(\w+) =", names)}

    assert taken <= line.keys()
    assert labelled <= taken
    assert selector.replace('\\"', '"') in json.dumps(line)
    assert all(text.count(a) == text.count(b) for a, b in ("{}", "()", "[]"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"]), "RFC3339Nano"


def test_the_route_leads_to_receivers_that_there_are() -> None:
    """Every severity of our rules has a way, and nothing that is not ours is caught."""
    config = read("alertmanager.yml")
    receivers = {receiver["name"] for receiver in config["receivers"]}
    (ours,) = config["route"]["routes"]
    severities = {
        rule["labels"]["severity"] for name in ("prometheus-alerts.yml", "loki-rules.yml") for rule in rules(name)
    }

    routes = [config["route"], ours, *ours["routes"]]
    assert {route["receiver"] for route in routes} == receivers
    assert ours["matchers"] == ['alertname=~"PumasAgent.*"']
    matched = {value for route in ours["routes"] for value in re.findall(r'severity="(\w+)"', route["matchers"][0])}
    assert matched == {"critical", "info"} < severities
    names = {rule["alert"] for name in ("prometheus-alerts.yml", "loki-rules.yml") for rule in rules(name)}
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            exact = re.fullmatch(r'alertname="(\w+)"', matcher)
            assert exact is None or exact[1] in names
            assert re.fullmatch(r'\w+(=|=~|!=|!~)"[^"]*"', matcher)


@pytest.mark.parametrize("path", sorted(CONFIG.iterdir()), ids=lambda path: path.name)
def test_every_example_is_led_to_by_a_page(path: Path) -> None:
    """What no page names is not found by anyone."""
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))

    assert f"config/{path.name}" in pages

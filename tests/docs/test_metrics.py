"""What docs/metrics.md lists is what a server tells, and its queries ask for nothing else."""

import re

from tailrace.server.metrics.catalogue import FAMILIES, Kind
from tailrace.server.metrics.names import MAX_NAMES, MAX_PAIRS, OTHER
from tailrace.server.metrics.queue_depths import MAX_PAGES, PAGE, READ_EVERY_S
from tests.docs.snippets import ROOT

TEXT = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.COUNTER: ("",), Kind.GAUGE: ("",)}


def test_every_metric_is_listed_with_its_type_its_labels_and_its_meaning() -> None:
    rows = re.findall(r"^\| `(tailrace_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", TEXT, re.MULTILINE)

    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows]
    assert listed == [(family.name, str(family.kind), family.labels, family.text) for family in FAMILIES]


def test_queries_ask_for_what_there_is() -> None:
    series = {
        family.name + suffix: {*family.labels, "le", "instance"}
        for family in FAMILIES
        for suffix in SUFFIXES[family.kind]
    }
    queries = "\n".join(re.findall(r"^```promql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))

    asked = re.findall(r"tailrace_\w+", queries)
    assert set(asked) - series.keys() == set()
    assert len(set(asked)) > 8
    labels = {label.strip() for group in re.findall(r"(?:by|on) \((.*?)\)", queries) for label in group.split(",")}
    assert labels - set().union(*(series[name] for name in asked)) == set()


def test_the_bounds_of_series_are_told() -> None:
    assert f"first {MAX_NAMES} queues and the first {MAX_NAMES} task types" in TEXT
    assert f"first {MAX_PAIRS} pairs" in TEXT
    assert f"under `{OTHER}`" in TEXT
    assert f"at most every {READ_EVERY_S:g} seconds" in TEXT
    assert f"more than {MAX_PAGES * PAGE} queues" in TEXT

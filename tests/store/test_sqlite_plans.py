"""What a statement of the embedded store costs does not grow with the number of tasks."""

import re
from pathlib import Path

import pytest

from tailrace.server.store.sqlite import statements
from tailrace.server.store.sqlite.database import Database

STATEMENTS = {
    name: text
    for name, text in vars(statements).items()
    if name.isupper() and not name.startswith("_") and isinstance(text, str)
}
OWN_TABLES = ("task", "input", "outcome", "queue", "reap_guard", "meta")


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_walks_through_a_table_or_sorts(tmp_path: Path, name: str) -> None:
    text = STATEMENTS[name]
    database = Database(tmp_path / "tailrace.db", partitions=1)
    named: dict[str, None] = dict.fromkeys(re.findall(r":(\w+)", text))
    parameters = named or (None,) * text.count("?")

    plan = [row[3] for row in database.connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
    database.close()

    for step in plan:
        assert not any(step.startswith(f"SCAN {table}") for table in OWN_TABLES), plan
        assert "TEMP B-TREE" not in step, plan


def test_there_are_statements_to_look_at() -> None:
    assert len(STATEMENTS) > 40
    assert all(text.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"} for text in STATEMENTS.values())

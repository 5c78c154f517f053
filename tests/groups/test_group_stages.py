"""The stages as a user runs them: pipeline, downstream, and evaluate again, which then has the gains."""

import json
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_report_and_the_downstream_table_have_the_groups_and_the_gains(grouped_run: Path) -> None:
    card = json.loads((grouped_run / "run" / "report" / "metrics.json").read_text())["groups"]
    assert [*card["columns"]["scanner"]["groups"]] == ["A", "B", "unknown"]
    ages = card["columns"]["age"]
    assert [*ages["groups"]] == ["under 40", "40 to under 60", "60 and over", "unknown"]
    assert ages["rule"] == "cut at 40 and 60"
    for column in card["columns"].values():
        assert sum(group["n_generated"] for group in column["groups"].values()) == 40
    assert card["without_owner"] == 0
    gain = next(line for line in card["gains"]["lines"] if line["group"] == "B")["gain"]
    assert gain["interval"]["low"] <= gain["value"] <= gain["interval"]["high"]
    (table,) = grouped_run.glob("run/downstream/*/files/downstream/table.md")
    assert "| scanner | B | 10 | small | 100 % | real+synthetic |" in table.read_text()
    page = (grouped_run / "run" / "report" / "index.html").read_text()
    assert 'id="groups"' in page and "Gain of classifiers" in page

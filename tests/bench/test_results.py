from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import results


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.1234, "0.12"), (9.99, "9.99"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_numbers_show_what_means_something(value: float | None, shown: str) -> None:
    assert results.number(value) == shown


def test_what_was_not_measured_has_no_median_and_no_ratio() -> None:
    assert results.median([]) is None
    assert results.ratio(None, 2.0) is None
    assert results.ratio(2.0, None) is None
    assert results.ratio(2.0, 0.0) is None


def test_a_ratio_says_how_many_times_as_much_is_ours() -> None:
    assert results.ratio(results.median([3.0, 1.0, 2.0]), 4.0) == 0.5


def test_a_table_has_a_rule_and_columns_of_one_width() -> None:
    lines = results.table(["", "one"], [["a name", "1"], ["b", "12,345"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) <= {"|", " ", "-"}
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["b", "12,345"]


def test_results_say_where_when_and_of_what_they_are(tmp_path: Path) -> None:
    results.save(tmp_path / "new" / "x.json", results.header("x"))
    read = json.loads((tmp_path / "new" / "x.json").read_text())
    assert read["benchmark"] == "x"
    assert read["machine"]["cores"] >= 1
    assert set(read["versions"]) >= {"torch", "transformers"}
    assert read["date"].endswith("UTC")

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks import TASKS, native_request
from modeldeploy.worker.adapter import Adapter
from tests.models import tables
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "table-question-answering"
TABLE = {"name": ["Ada", "her sister"], "lives": ["London", "Paris"], "count": ["10", "3"]}
QUERIES = ["Where does Ada live?", "count", "What can the model do with ten?"]

with_pandas = pytest.mark.skipif(
    importlib.util.find_spec("pandas") is None, reason="pandas (the extra tables) is not installed"
)


@pytest.fixture(scope="module", params=[True, False], ids=["aggregates", "selects"])
def snapshot(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tables.tapas(tmp_path_factory.mktemp("tapas"), aggregates=request.param)


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Adapter[Any, Any]:
    return loaded(snapshot, TASK)


@with_pandas
def test_answers_are_those_of_the_pipeline(adapter: Adapter[Any, Any], snapshot: Path) -> None:
    answer = pipeline(TASK, model=str(snapshot), device="cpu")
    cells = 0
    for query in QUERIES:
        found = predict(adapter, inputs(TASK, query=query, table=TABLE), parameters(TASK))
        expected = answer(table=TABLE, query=query)
        assert msgspec.to_builtins(found) == expected
        cells += len(found.cells)
    assert cells


@with_pandas
def test_a_table_that_is_too_long_loses_its_last_rows_when_asked(
    adapter: Adapter[Any, Any], snapshot: Path
) -> None:
    long = {name: column * 8 for name, column in TABLE.items()}
    one = inputs(TASK, query=QUERIES[0], table=long)
    with pytest.raises(InputTooLong, match="64 tokens"):
        adapter.pre(one, parameters(TASK))
    found = predict(adapter, one, parameters(TASK, truncation=True))
    answer = pipeline(TASK, model=str(snapshot), device="cpu")
    assert msgspec.to_builtins(found) == answer(table=long, query=QUERIES[0])


@with_pandas
def test_a_batch_answers_as_its_items_alone(adapter: Adapter[Any, Any]) -> None:
    how = parameters(TASK)
    items = [adapter.pre(inputs(TASK, query=query, table=TABLE), how)[0] for query in QUERIES]
    assert len({item.size for item in items}) > 1
    for item, raw in zip(items, adapter.core(items), strict=True):
        alone = adapter.core([item])[0]
        # Those of the question count for nothing, and padding moves them.
        ours, its = (
            [
                logit
                for logit, kind in zip(one.logits[0].tolist(), one.cells.types, strict=True)
                if kind[1]
            ]
            for one in (raw, alone)
        )
        assert ours == pytest.approx(its, rel=1e-4, abs=1e-4)


@with_pandas
@pytest.mark.parametrize(
    ("table", "error", "said"),
    [
        ({"a": ["1"], "b": ["1", "2"]}, InvalidRequest, "'a' has 1 cells, 'b' has 2"),
        ({str(n): ["1"] for n in range(300)}, InputTooLong, "columns"),
        ({str(n): ["1"] * 10_000 for n in range(7)}, InputTooLong, "70000 cells"),
    ],
    ids=["ragged", "wide", "huge"],
)
def test_a_table_that_cannot_be_read_is_refused(
    adapter: Adapter[Any, Any], table: dict[str, list[str]], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        adapter.pre(inputs(TASK, query="a", table=table), parameters(TASK))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"query": ""}, "query"),
        ({"table": {}}, "table"),
        ({"table": {"a": []}}, "table"),
        ({"table": {"a": [1]}}, "table"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    body = {**TASKS[TASK].example, **change}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(body, native_request(TASKS[TASK]))


def test_without_pandas_it_says_what_to_install(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedModel, match="pandas") as caught:
        loaded(snapshot, TASK)
    assert "modeldeploy[tables]" in caught.value.hint
